"""A whole run: rounds one after the other, from the beginning or from a checkpoint."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

from ..clients.data.base import FederatedData
from ..clients.kernel import BlockKernel
from ..clients.pools.base import ClientPool
from ..clients.pools.serial import SerialPool
from ..clients.vectorize import Choice
from ..core.errors import ScenarioError, named_faults
from ..core.layout import Layout
from .evaluation import Evaluator, Score, goals_of
from .example_privacy import with_known_noise, with_local_steps
from .guarantee import delta_warning, refuse_large_delta
from .guard import out_of_budget
from .ingredients import given_or_made, make_model
from .outcome import Outcome
from .plan import Plan, make_plan
from .promise import refuse_broken_promises
from .regression import refuse_labels_only
from .round import run_round
from .small_cohorts import warnings_of
from .spec import RunSpec, noise_warning
from .state import ServerState, first_state
from .training import make_choice, make_kernel, make_root


@dataclass(frozen=True)
class Step:
    """One finished round, as handed to whoever records it.

    Attributes:
        state: The server after the round.
        outcome: What happened in it.
        score: The new model's score, or None where the round is not evaluated.
        seconds: Wall-clock seconds of the round, without its own evaluation.
        stopped: Why this was the last round although more were planned: the privacy budget, in one line.
    """

    state: ServerState
    outcome: Outcome
    score: Score | None
    seconds: float
    stopped: str | None = None


@dataclass(frozen=True)
class Simulation:
    """A run that is ready to go: everything that can be refused has been."""

    spec: RunSpec
    data: FederatedData
    plan: Plan
    kernel: BlockKernel
    evaluator: Evaluator
    first: ServerState
    choice: Choice

    def steps(self, pool: ClientPool, state: ServerState | None = None) -> Iterator[Step]:
        """Run the rounds that are left after ``state`` (all of them by default), one a time.

        None is run that the privacy budget does not pay for. Where clients train in other processes, a model
        is scored while they train the next round, and its step is handed out after that.
        """
        state = state or self.first
        stopped = self.out_of_budget(state)
        finished: Callable[[], Step] | None = None
        with ThreadPoolExecutor(1, "evaluation") as thread:
            while state.round < self.spec.rounds and stopped is None:
                begin = perf_counter()
                try:
                    state, outcome = run_round(self.plan, state, pool)
                finally:
                    if finished:
                        yield finished()
                seconds = perf_counter() - begin
                stopped = self.out_of_budget(state)
                score = thread.submit(self._score, state, stopped is not None)
                finished = partial(_step, state, outcome, score, seconds, stopped)
                if not self._overlaps(pool):
                    yield finished()
                    finished = None
            if finished:
                yield finished()

    def warnings(self) -> list[str]:
        """Return, one line each, what may go otherwise in some rounds than the scenario says."""
        lines = delta_warning(self.plan), noise_warning(self.spec)
        return [*(line for line in lines if line), *warnings_of(self.spec, self.plan)]

    def _overlaps(self, pool: ClientPool) -> bool:
        """Return whether a model can be scored during the next round without changing a bit of either."""
        return pool.elsewhere and self.plan.root is None  # nothing here sets the number of threads meanwhile

    def out_of_budget(self, state: ServerState) -> str | None:
        """Return why the privacy budget ends the run after ``state``; None where it does not."""
        return out_of_budget(self.plan, state) if state.round < self.spec.rounds else None

    def _score(self, state: ServerState, last: bool) -> Score | None:
        due = last or state.round % self.spec.evaluate_every == 0 or state.round == self.spec.rounds
        with named_faults(f"model '{self.spec.model.name}' cannot be evaluated"):
            model = self.plan.model(state.params, state.optimizer)
            return self.evaluator.score(model, state.buffers) if due else None

    def ray_pool(
        self,
        num_workers: int | None = None,
        address: str | None = None,
        patience: float | None = None,
        gpus_per_worker: float | None = None,
    ) -> ClientPool:
        """Return a pool of Ray workers for this run; see ``RayPool`` for the arguments."""
        from ..clients.pools.ray import EVEN_SHARE, RayPool

        build: Callable[[FederatedData], BlockKernel] = partial(make_kernel, self.spec, choice=self.choice)
        gpus = (gpus_per_worker or EVEN_SHARE) if self.choice.device == "cuda" else 0.0
        return RayPool(build, self.data, num_workers, address, self.choice.height, patience, gpus)

    def serial_pool(self) -> ClientPool:
        """Return a pool that trains in this process."""
        return SerialPool(self.kernel, self.choice.height)


def _step(
    state: ServerState, outcome: Outcome, score: Future[Score | None], seconds: float, stopped: str | None
) -> Step:
    return Step(state, outcome, score.result(), seconds, stopped)


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
    data = given_or_made(spec, data)
    asked, spec = spec, with_known_noise(spec, data)
    model = make_model(spec, data)
    choice = make_choice(spec, data, model, begun)
    layout = Layout.of(model)
    plan = with_local_steps(make_plan(spec, layout), spec, data)
    plan = replace(plan, root=make_root(spec, data))
    refuse_labels_only(plan, data)
    params = layout.flatten(dict(model.named_parameters()))
    buffers = layout.flatten_buffers(dict(model.named_buffers()))
    first = first_state(plan, params, buffers)
    refuse_large_delta(plan, spec)
    refuse_broken_promises(plan, asked, first, data)
    if broke := out_of_budget(plan, first):
        raise ScenarioError(f"not even one round can run: {broke}")
    goals = goals_of((*plan.poisons, *plan.attacks), data)
    return Simulation(
        spec=spec,
        data=data,
        plan=plan,
        kernel=make_kernel(spec, data, choice),
        evaluator=Evaluator(model, data, goals, spec.training.loss, choice.device),
        first=first,
        choice=choice,
    )
