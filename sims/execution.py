"""Run the rounds of one run that are left, and keep what they leave on the disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..core.declarations import ClientData, declared
from ..core.errors import GauntletError, ResultsError
from ..core.updates import all_finite
from ..privacy.accounting import Epsilon
from ..server.checkpoint import Checkpoint, save_checkpoint
from ..server.spec import noise_warning
from ..server.state import ServerState
from .audits import AuditTrail
from .posterior import write_posterior
from .probes import Probes, submit_later, submit_to_ray
from .progress import Progress, report
from .report.writing import keep_report
from .results import Run, first_line
from .scenario import Scenario
from .sections import Runtime
from .signals import undisturbed
from .tracking import Tracking
from .watched import Watched
from .writer import RunWriter

if TYPE_CHECKING:
    from ..clients.pools.base import ClientPool
    from ..server.plan import Plan
    from ..server.simulation import Simulation, Step


@dataclass(frozen=True)
class Records:
    """Everything that looks at a run's rounds and writes down what it sees."""

    writer: RunWriter
    probes: Probes
    trail: AuditTrail
    tracking: Tracking
    watched: Watched = field(default_factory=Watched)

    def take(self, simulation: Simulation, step: Step) -> dict[str, Any]:
        """Take one round; return its row of ``rounds.parquet``."""
        row = self.writer.add(simulation.plan, step)
        self.probes.watch(step)
        self.trail.watch(step)
        self.tracking.take(row)
        self.watched.show(self.writer)
        return row

    def save(self, state: ServerState) -> None:
        """Write a checkpoint, once the rows that it counts on are on the disk."""
        beside = {"tables": self.writer.flush(), "audit": self.trail.kept}
        save_checkpoint(self.writer.folder / "checkpoints", state, self.writer.fingerprint, beside)
        self.tracking.save()


def execute(
    scenario: Scenario,
    simulation: Simulation,
    writer: RunWriter,
    begin: Checkpoint | None,
    progress: Progress,
    number: int,
) -> Run:
    """Run the rounds that are left after ``begin``; whatever happens, what is on disk can be resumed."""
    pool, records = _pool(scenario.runtime, simulation), None
    try:
        state = simulation.first if begin is None else begin.state
        records = _open(scenario, simulation, writer, begin, progress)
        _announce(scenario, simulation, writer, state, progress)
        progress.begin(number, _label(scenario, writer), scenario.rounds, state.round)
        state, stopped = _run_rounds(scenario, simulation, records, pool, state, progress, number)
        progress.end(number)
        pool.close()  # the attacks get its workers' CPUs
        epsilon = _conclude(scenario, simulation, records, state, stopped, progress)
        run = writer.finish(epsilon, stopped)
        records.tracking.finish(run)
        keep_report(run.folder, progress)
        return run
    except GauntletError as error:
        writer.fail(str(error))
        raise
    except OSError as error:
        reason = f"{error.filename or writer.folder}: {error.strerror or first_line(error)}"
        writer.fail(reason)
        raise ResultsError(reason) from error
    finally:
        pool.close()
        if records is not None:
            records.tracking.close()


def _run_rounds(
    scenario: Scenario,
    simulation: Simulation,
    records: Records,
    pool: ClientPool,
    state: ServerState,
    progress: Progress,
    number: int,
) -> tuple[ServerState, str | None]:
    """Return the last state, and why it is the last where more rounds were planned.

    An interrupt keeps the last round that is whole.
    """
    saved, whole = state.round, True
    stopped, begun = simulation.out_of_budget(state), monotonic()
    try:
        for step in simulation.steps(pool, state):
            whole = False
            with undisturbed():
                row = records.take(simulation, step)
                state, stopped, whole = step.state, step.stopped, True
                report(progress, number, step, monotonic() - begun, row)
                if _due(scenario, state.round) or stopped:
                    records.save(state)
                    saved = state.round
            del step  # its updates, before the next round's are there
    except KeyboardInterrupt:
        if whole and state.round > saved:
            records.save(state)
        raise
    return state, stopped


def _open(
    scenario: Scenario,
    simulation: Simulation,
    writer: RunWriter,
    begin: Checkpoint | None,
    progress: Progress,
) -> Records:
    round_ = 0 if begin is None else begin.state.round
    submit = submit_to_ray if scenario.runtime.pool == "ray" else submit_later
    kept = None if begin is None or begin.beside is None else begin.beside["audit"]
    before = None if begin is None else begin.state.params
    return Records(
        writer,
        Probes(scenario, simulation, writer.folder, round_, submit),
        AuditTrail(simulation, writer.folder, round_, kept, before),
        Tracking(scenario, writer, round_, progress),
    )


def _announce(
    scenario: Scenario, simulation: Simulation, writer: RunWriter, state: ServerState, progress: Progress
) -> None:
    """Say how clients train, and what is to be read with caution."""
    for line in (simulation.choice.reason, *(f"warning: {w}" for w in simulation.warnings())):
        progress.note(f"{_label(scenario, writer)}: {line}")
    for line in declared(simulation.data, ClientData.notes):
        writer.note(line)
    if given_up := noise_warning(simulation.spec):
        writer.note(f"{given_up}; rounds from {state.round} on" if state.round else given_up)


def _conclude(
    scenario: Scenario,
    simulation: Simulation,
    records: Records,
    state: ServerState,
    stopped: str | None,
    progress: Progress,
) -> Epsilon:
    """Write what is known at the end of a run alone; return what it cost, by the tightest accountant."""
    writer, label = records.writer, _label(scenario, records.writer)
    if stopped:
        progress.note(f"{label}: stopped after {state.round} of {scenario.rounds} rounds: {stopped}")
    if line := diverged(simulation.plan, state):
        writer.note(line)
        progress.note(f"{label}: warning: {line}")
    epsilon = simulation.plan.accountant.epsilon(state.ledger, tight=True)
    records.trail.finish(state, epsilon)
    if write_posterior(simulation, writer.folder, state) == 0:
        progress.note(f"{label}: no posterior sample was kept; lower burn_in")
    writer.keep({"probes": records.probes.record()} if scenario.probes else {})
    for line in records.probes.complaints():
        writer.note(line)
        progress.note(f"{label}: {line}")
    records.probes.collect()
    return epsilon


def diverged(plan: Plan, state: ServerState) -> str | None:
    """Return a warning of a model that holds NaN or infinity: the last one, or that of some clients."""
    advice = "lower lr, or look at what the server optimizer and the plug-ins of clients return"
    if not (all_finite(state.params) and all_finite(plan.model(state.params, state.optimizer))):
        return f"the last model holds NaN or infinity, and its scores mean nothing: {advice}"
    served = plan.served(state.params, state.optimizer)
    everybody = range(plan.sampling.num_clients)
    lost = [] if served is None else [i for i in everybody if not all_finite(served(i))]
    if not lost:
        return None
    first = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
    return f"the last model that {len(lost)} clients are served ({first}) holds NaN or infinity: {advice}"


def _label(scenario: Scenario, writer: RunWriter) -> str:
    return writer.label or scenario.name


def _due(scenario: Scenario, rounds_done: int) -> bool:
    every = scenario.checkpoint.every
    return rounds_done == scenario.rounds or (every > 0 and rounds_done % every == 0)


def _pool(runtime: Runtime, simulation: Simulation) -> ClientPool:
    if runtime.pool == "serial":
        return simulation.serial_pool()
    where = runtime.num_workers, runtime.ray_address, runtime.patience_seconds
    return simulation.ray_pool(*where, runtime.gpus_per_worker, runtime.transport)
