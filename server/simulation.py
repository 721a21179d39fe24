"""A whole run: rounds one after the other, from the beginning or from a checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

from ..clients.data.base import FederatedData
from ..clients.kernel import BlockKernel
from ..clients.pools.base import ClientPool
from ..clients.pools.serial import SerialPool
from ..clients.vectorize import Choice
from ..core.errors import ScenarioError
from ..core.layout import Layout
from .evaluation import Evaluator, Score, goals_of
from .guard import out_of_budget
from .plan import Plan, make_data, make_kernel, make_model, make_plan, make_root, stacking
from .round import Outcome, run_round
from .spec import RunSpec
from .state import ServerState, first_state


@dataclass(frozen=True)
class Step:
    """One finished round, as handed to whoever records it.

    Attributes:
        state: The server after the round.
        outcome: What happened in it.
        score: The new model's score, or None where the round is not evaluated.
        seconds: Wall-clock seconds of the round, without its evaluation.
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

        None is run that the privacy budget does not pay for.
        """
        state = state or self.first
        stopped = self.out_of_budget(state)
        while state.round < self.spec.rounds and stopped is None:
            begin = perf_counter()
            state, outcome = run_round(self.plan, state, pool)
            seconds = perf_counter() - begin
            stopped = self.out_of_budget(state)
            yield Step(state, outcome, self._score(state, stopped is not None), seconds, stopped)

    def out_of_budget(self, state: ServerState) -> str | None:
        """Return why the privacy budget ends the run after ``state``; None where it does not."""
        return out_of_budget(self.plan, state) if state.round < self.spec.rounds else None

    def _score(self, state: ServerState, last: bool) -> Score | None:
        due = last or state.round % self.spec.evaluate_every == 0 or state.round == self.spec.rounds
        return self.evaluator.score(state.params, state.buffers) if due else None

    def ray_pool(
        self, num_workers: int | None = None, address: str | None = None, patience: float | None = None
    ) -> ClientPool:
        """Return a pool of Ray workers for this run; see ``RayPool`` for the arguments."""
        from ..clients.pools.ray import RayPool

        build: Callable[[FederatedData], BlockKernel] = partial(make_kernel, self.spec)
        return RayPool(build, self.data, num_workers, address, self.choice.height, patience)

    def serial_pool(self) -> ClientPool:
        """Return a pool that trains in this process."""
        return SerialPool(self.kernel, self.choice.height)


def prepare(spec: RunSpec, data: FederatedData | None = None) -> Simulation:
    """Check a spec to the last plug-in and return the run, before anything is written.

    Raises:
        GauntletError: Whatever cannot run, in one line.
    """
    data = data or make_data(spec)
    model = make_model(spec, data)
    layout = Layout.of(model)
    plan = replace(make_plan(spec, layout), root=make_root(spec, data))
    params = layout.flatten(dict(model.named_parameters()))
    buffers = layout.flatten_buffers(dict(model.named_buffers()))
    first = first_state(plan, params, buffers)
    if broke := out_of_budget(plan, first):
        raise ScenarioError(f"not even one round can run: {broke}")
    return Simulation(
        spec=spec,
        data=data,
        plan=plan,
        kernel=make_kernel(spec, data),
        evaluator=Evaluator(model, data, goals_of((*plan.poisons, *plan.attacks), data)),
        first=first,
        choice=stacking(spec, model, data),
    )
