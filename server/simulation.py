"""A whole run: rounds one after the other, from the beginning or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from ..clients.exchange.levels import levels_of
from ..clients.exchange.messages import Broadcast
from ..clients.models.build import settles
from ..clients.models.weights import begin_with
from ..clients.pools.serial import SerialPool
from ..clients.scoring.scorer import Scoring
from ..core.declarations import ClientData, declared
from ..core.layout import Layout
from .assembly.build import make_plan
from .assembly.fitted import Fitted
from .assembly.loading import load_data, make_model, make_task, model_and_secret
from .assembly.parts import Parts
from .assembly.refusals import OF_FIT, OF_GOALS, OF_PARTS, OF_PROSPECT, refuse
from .assembly.refusals.budgets import Prospect
from .assembly.training import (
    TrainingKernel,
    kernel_of,
    make_candidates,
    make_certifier,
    make_choice,
    make_kernel,
    make_moving_goals,
    make_root,
    make_scorer,
)
from .defending.small_cohorts import warnings_of
from .guarantee.example_privacy import known_noise, with_local_steps
from .guarantee.guard import out_of_budget
from .guarantee.reading import delta_warning
from .round import run_round
from .scoring.evaluation import Evaluator, Score, goals_of
from .scoring.personal import PersonalEvaluator, PersonalScore, kept_warning, make_evaluator
from .spec import RunSpec, noise_warning
from .state import ServerState, first_state, require_memories

if TYPE_CHECKING:
    from ..clients.data.base import FederatedData
    from ..clients.placement.stackable import Choice
    from ..clients.pools.base import ClientPool
    from ..clients.pools.ray import TransportName
    from .defending.certificates import CertificateScore, Certifier
    from .mail.outcome import Outcome
    from .plan import Plan
    from .scoring.moving_goals import MovingGoals


@dataclass(frozen=True)
class Step:
    """One finished round, as handed to whoever records it.

    Attributes:
        state: The server after the round.
        outcome: What happened in it.
        score: The new model's score, or None where the round is not evaluated.
        seconds: Wall-clock seconds of the round, without its own evaluation.
        personal: How models do on what clients hold out, where they do and the round is evaluated.
        certificates: What the defense certifies of the new model, where it does and the round is evaluated.
        stopped: Why this was the last round although more were planned: the privacy budget, in one line.
    """

    state: ServerState
    outcome: Outcome
    score: Score | None
    seconds: float
    stopped: str | None = None
    personal: tuple[PersonalScore, ...] = ()
    certificates: tuple[CertificateScore, ...] = ()


@dataclass(frozen=True)
class Simulation:
    """A run that is ready to go: everything that can be refused has been."""

    spec: RunSpec
    data: FederatedData
    plan: Plan
    kernel: TrainingKernel
    evaluator: Evaluator
    first: ServerState
    choice: Choice
    personal: PersonalEvaluator | None = None
    certifier: Certifier | None = None
    moving: MovingGoals | None = None

    def steps(self, pool: ClientPool, state: ServerState | None = None) -> Iterator[Step]:
        """Run the rounds that are left after ``state`` (all of them by default), one a time.

        None is run that the privacy budget does not pay for.

        Raises:
            PluginError: One failed; or, after the first round, what it remembers is no tree (``core.trees``).
        """
        state = state or self.first
        stopped, known, fresh = self.out_of_budget(state), None, True
        while state.round < self.spec.rounds and stopped is None:
            begin = perf_counter()
            state, outcome = run_round(self.plan, state, pool)
            seconds = perf_counter() - begin
            if fresh:
                require_memories(self.plan, state)
            stopped = self.out_of_budget(state)
            due, score = self._due(state) or stopped is not None, None
            if due:
                known = self._scored(state, pool, known)
                score = known[1]
            personal = self._personal_scores(state) if due else ()
            certified = self.certifier.scores(state) if due and self.certifier else ()
            fresh = False
            yield Step(state, outcome, score, seconds, stopped, personal, certified)
            del outcome  # its updates, before the next round's are there

    def warnings(self) -> list[str]:
        """Return, one line each, what may go otherwise in some rounds than the scenario says."""
        lines = *declared(self.data, ClientData.notes), delta_warning(self.plan), noise_warning(self.spec)
        lines += (kept_warning(self.kernel.rule, self.plan.exchange, self.spec.algorithm.name),)
        return [*(line for line in lines if line), *warnings_of(self.spec, self.plan)]

    def out_of_budget(self, state: ServerState) -> str | None:
        """Return why the privacy budget ends the run after ``state``; None where it does not."""
        return out_of_budget(self.plan, state) if state.round < self.spec.rounds else None

    def _due(self, state: ServerState) -> bool:
        return state.round % self.spec.evaluate_every == 0 or state.round == self.spec.rounds

    def _scored(
        self, state: ServerState, pool: ClientPool, known: tuple[Broadcast, Score] | None
    ) -> tuple[Broadcast, Score]:
        """Return the new model and its score: that which is known where no round has changed the model."""
        params = self.plan.model(state.params, state.optimizer)
        model = Broadcast(state.round, params, state.buffers)
        if known and all(torch.equal(getattr(known[0], n), getattr(model, n)) for n in ("params", "buffers")):
            return known
        score = self.evaluator.score(pool.score(model))
        return model, score if self.moving is None else self.moving.joined(score, params, state.buffers)

    def _personal_scores(self, state: ServerState) -> tuple[PersonalScore, ...]:
        if self.personal is None:
            return ()
        params = self.plan.model(state.params, state.optimizer)
        served = self.plan.served(state.params, state.optimizer)
        return self.personal.score(params, state.buffers, state.clients, served)

    @property
    def scoring(self) -> Scoring:
        """What a worker needs to score this run's models."""
        return Scoring(partial(make_scorer, self.spec, self.choice.device), self.evaluator.examples)

    def ray_pool(
        self,
        num_workers: int | None = None,
        address: str | None = None,
        patience: float | None = None,
        gpus_per_worker: float | None = None,
        transport: TransportName = "auto",
    ) -> ClientPool:
        """Return a pool of Ray workers for this run; see ``RayPool`` for the arguments."""
        from ..clients.pools.ray import EVEN_SHARE, RayPool

        build: Callable[[FederatedData], TrainingKernel] = partial(make_kernel, self.spec, choice=self.choice)
        gpus = (gpus_per_worker or EVEN_SHARE) if self.choice.device == "cuda" else 0.0
        height, scoring = self.choice.height, self.scoring
        return RayPool(build, self.data, num_workers, address, height, patience, gpus, scoring, transport)

    def serial_pool(self) -> ClientPool:
        """Return a pool that trains in this process."""
        scorer = self.scoring.build(self.data, self.evaluator.examples)
        return SerialPool(self.kernel, self.choice.height, scorer)


def prepare(
    spec: RunSpec, data: FederatedData | None = None, begun: Mapping[str, Any] | None = None
) -> Simulation:
    """Check a spec to the last plug-in and return the run, before anything is written.

    Args:
        spec: What to run.
        data: The clients' data; by default those of the spec.
        begun: ``Choice.stored`` of the same run's beginning, which its end is to be like.

    Raises:
        GauntletError: Whatever cannot run, in one line.
    """
    parts = Parts(spec, given=data is not None)
    parts.complete()
    refuse(OF_PARTS, parts)
    data = load_data(parts) if data is None else data
    mechanism, spec = known_noise(parts, data)
    model, secret = model_and_secret(spec, data, parts.server)
    if spec.init is not None and settles(spec.model.name, spec.model.options) is None:
        begin_with(model, spec.init)
    choice = make_choice(parts, data, model, begun)
    layout = Layout.of(model)
    task = make_task(spec, data)
    levels = levels_of(parts.algorithm, model, data, spec.seed, task)
    fitted = Fitted(parts, data, model, layout, mechanism, levels, secret)
    refuse(OF_FIT, fitted)
    plan = with_local_steps(make_plan(fitted), parts, data)
    plan = replace(plan, root=make_root(parts, data), candidates=make_candidates(parts, data))
    params = layout.flatten(dict(model.named_parameters()))
    buffers = layout.flatten_buffers(dict(model.named_buffers()))
    first = first_state(plan, params, buffers)
    certifier = make_certifier(parts, plan, data, first)
    refuse(OF_GOALS, fitted)
    goals = goals_of((*plan.poisons, *plan.attacks), data)
    moving = make_moving_goals(parts, plan, data)
    of_first = [] if moving is None else moving.of(first.params, first.buffers)
    refuse(OF_PROSPECT, Prospect(parts.spec, plan, first, data, [*goals, *of_first]))
    return Simulation(
        spec=spec,
        data=data,
        plan=plan,
        kernel=kernel_of(parts, data, make_model(spec, data, parts.server), choice, plan.privacy),
        evaluator=Evaluator(data, goals, spec.training.loss, task),
        certifier=certifier,
        moving=moving,
        first=first,
        choice=choice,
        personal=make_evaluator(parts.algorithm, model, plan.exchange, data, spec.training.loss, task),
    )
