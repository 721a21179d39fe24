"""Run one scenario, or take up where one stopped."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from ..clients.pools.base import ClientPool
from ..core.errors import CheckpointError, GauntletError, ResultsError, ScenarioError
from ..core.locks import FolderLock
from ..core.outside import only_our_own
from ..privacy.accounting import Epsilon
from ..server.checkpoint import Checkpoint, load_newest, save_checkpoint
from ..server.guarantee import stated
from ..server.simulation import Simulation, prepare
from ..server.spec import noise_warning
from ..server.state import ServerState
from .audits import AuditTrail
from .folders import claimed, fresh_folder
from .outside_code import code_of
from .ownership import distrusted, refuse_cluster
from .posterior import write_posterior
from .probes import Probes, submit_later, submit_to_ray
from .progress import Progress, Silent, report
from .provenance import (
    NO_CONSENT,
    Consent,
    accepted,
    begun_with,
    changed_code,
    changed_data,
    keep_code,
    notes,
    refuse_changes,
)
from .results import FINISHED, Run, first_line, load_run, read_manifest
from .scenario import Scenario, fingerprint, make_scenario
from .sections import Runtime
from .signals import resumable, undisturbed
from .watch import make_watches
from .writer import RunWriter, rows_of

RESULTS = Path("results")


def simulate(
    scenario: Scenario,
    out: str | Path | None = None,
    progress: Progress | None = None,
    *,
    label: str = "",
    number: int = 0,
) -> Run:
    """Run a scenario without ``[sweep]`` and return its results.

    Args:
        scenario: What to run.
        out: The result folder; by default a fresh one under ``results``.
        progress: Who is told of every round; nobody by default.
        label: What distinguishes this run from others beside it.
        number: The run's place among them.

    Raises:
        GauntletError: Whatever cannot run, in one line. Nothing is written before the scenario is checked.
    """
    if scenario.sweep:
        raise ScenarioError(
            f"'{scenario.name}' is a sweep over {', '.join(scenario.sweep)}; use gauntlet.sweep"
        )
    simulation = prepare(scenario.run_spec())
    check_probes(scenario, simulation)
    folder = Path(out) if out is not None else fresh_folder(RESULTS, scenario.name)
    begun = {**begun_with(scenario, simulation), "guarantee": stated(simulation.plan)}
    with claimed(folder), resumable(folder):
        writer = RunWriter.create(folder, scenario, simulation.choice, label, begun)
        keep_code(scenario, folder)
        return _execute(scenario, simulation, writer, None, progress or Silent(), number)


def check_probes(scenario: Scenario, simulation: Simulation) -> None:
    """Raise ``GauntletError`` where a probe or an audit cannot look at what it is to look at."""
    make_watches(scenario.probes, simulation)
    AuditTrail(simulation, Path(), 0)


def resume(
    folder: str | Path,
    progress: Progress | None = None,
    *,
    runtime: Runtime | None = None,
    number: int = 0,
    consent: Consent = NO_CONSENT,
) -> Run:
    """Take up an unfinished run: the same bits as if it had never stopped.

    Where the newest checkpoint or the rows that it counts on are damaged, it goes on from the one before.

    Raises:
        CheckpointError: No checkpoint can be read.
        ResultsError: The folder holds no run, another process runs it, or code, versions or data are others.
        PluginError: The folder is of others, and names code from outside the package.
    """
    folder = Path(folder)
    why = distrusted(folder, read_manifest(folder), consent.allow_code)
    if read_manifest(folder)["status"] in FINISHED:
        return load_run(folder)
    with FolderLock(folder), only_our_own(why), resumable(folder):
        manifest = read_manifest(folder)
        if manifest["status"] in FINISHED:  # meanwhile, by another process
            return load_run(folder)
        scenario = stored_scenario(folder, manifest)
        refuse_cluster(scenario.runtime, runtime or scenario.runtime, why)
        changed = changed_code(manifest, code_of(scenario.values()))
        refuse_changes(folder, changed, consent)
        if runtime is not None:
            scenario = scenario.model_copy(update={"runtime": runtime})
        simulation = prepare(scenario.run_spec(), begun=manifest.get("training"))
        changed += changed_data(manifest, simulation)
        refuse_changes(folder, changed, consent)
        check = partial(_check, folder, simulation)
        found, damaged = load_newest(folder / "checkpoints", manifest["fingerprint"], check)
        writer, progress = RunWriter.reopen(folder, found), progress or Silent()
        for reason in damaged:
            line = f"{reason}; going on from {found.path.stem if found else 'the beginning'}"
            writer.note(line)
            progress.note(line)
        _go_on(writer, manifest, scenario, simulation, changed, found, progress)
        return _execute(scenario, simulation, writer, found, progress, number)


def _go_on(
    writer: RunWriter,
    manifest: Mapping[str, Any],
    scenario: Scenario,
    simulation: Simulation,
    changed: list[str],
    found: Checkpoint | None,
    progress: Progress,
) -> None:
    """Write down, and say, what is other than when the run was begun."""
    round_ = 0 if found is None else found.state.round
    writer.keep(accepted(manifest, scenario, simulation, changed, round_))
    keep_code(scenario, writer.folder)
    for line in notes(manifest, changed, round_):
        progress.note(f"{writer.label or scenario.name}: {line}")


def stored_scenario(folder: Path, manifest: Mapping[str, Any]) -> Scenario:
    """Return the scenario that a manifest holds; keys that its version did not have take their defaults.

    Raises:
        ResultsError: It is not the one that the run began with.
    """
    if fingerprint(manifest["scenario"], manifest.get("code", {})) != manifest["fingerprint"]:
        raise ResultsError(
            f"{folder}/manifest.json: the scenario does not fit its fingerprint; it was changed"
        )
    return make_scenario(manifest["scenario"], f"{folder}/manifest.json")


def _check(folder: Path, simulation: Simulation, checkpoint: Checkpoint) -> None:
    """Raise ``GauntletError`` unless a checkpoint fits the run, and its rows are there."""
    for name in ("params", "buffers"):
        came, needed = (getattr(state, name).numel() for state in (checkpoint.state, simulation.first))
        if came != needed:
            raise CheckpointError(f"{checkpoint.path} holds {came} {name}, the model has {needed}")
    rows_of(folder, checkpoint)


def _execute(
    scenario: Scenario,
    simulation: Simulation,
    writer: RunWriter,
    begin: Checkpoint | None,
    progress: Progress,
    number: int,
) -> Run:
    """Run the rounds that are left after ``begin``; whatever happens, what is on disk can be resumed."""
    state = simulation.first if begin is None else begin.state
    on_ray, saved, whole = scenario.runtime.pool == "ray", state.round, True
    label = writer.label or scenario.name
    pool = _pool(scenario.runtime, simulation)
    try:
        submit = submit_to_ray if on_ray else submit_later
        probes = Probes(scenario, simulation, writer.folder, state.round, submit)
        kept = None if begin is None or begin.beside is None else begin.beside["audit"]
        trail = AuditTrail(simulation, writer.folder, state.round, kept)
        for line in (simulation.choice.reason, *(f"warning: {w}" for w in simulation.warnings())):
            progress.note(f"{label}: {line}")
        if given_up := noise_warning(simulation.spec):
            writer.note(f"{given_up}; rounds from {state.round} on" if state.round else given_up)
        progress.begin(number, label, scenario.rounds, state.round)
        stopped, begun = simulation.out_of_budget(state), monotonic()
        for step in simulation.steps(pool, state):
            whole = False
            with undisturbed():
                writer.add(simulation.plan, step)
                probes.watch(step)
                trail.watch(step)
                state, stopped, whole = step.state, step.stopped, True
                report(progress, number, step, monotonic() - begun)
                if _due(scenario, state.round) or stopped:
                    _save(writer, trail, state)
                    saved = state.round
            del step  # its updates, before the next round's are there
        progress.end(number)
        if stopped:
            progress.note(f"{label}: stopped after {state.round} of {scenario.rounds} rounds: {stopped}")
        epsilon = _conclude(simulation, writer, trail, state, progress)
        writer.keep({"probes": probes.record()})
        for line in probes.complaints():
            writer.note(line)
            progress.note(f"{label}: {line}")
        probes.collect()
        return writer.finish(epsilon, stopped)
    except KeyboardInterrupt:
        if whole and state.round > saved:
            _save(writer, trail, state)
        raise
    except GauntletError as error:
        writer.fail(str(error))
        raise
    except OSError as error:
        reason = f"{error.filename or writer.folder}: {error.strerror or first_line(error)}"
        writer.fail(reason)
        raise ResultsError(reason) from error
    finally:
        pool.close()


def _conclude(
    simulation: Simulation, writer: RunWriter, trail: AuditTrail, state: ServerState, progress: Progress
) -> Epsilon:
    """Write what is known at the end of a run alone; return what it cost, by the tightest accountant."""
    epsilon = simulation.plan.accountant.epsilon(state.ledger, tight=True)
    trail.finish(state, epsilon)
    if write_posterior(simulation, writer.folder, state) == 0:
        label = writer.label or simulation.data.name
        progress.note(f"{label}: no posterior sample was kept; lower burn_in")
    return epsilon


def _save(writer: RunWriter, trail: AuditTrail, state: ServerState) -> None:
    """Write a checkpoint, once the rows that it counts on are on the disk."""
    beside = {"tables": writer.flush(), "audit": trail.kept}
    save_checkpoint(writer.folder / "checkpoints", state, writer.fingerprint, beside)


def _due(scenario: Scenario, rounds_done: int) -> bool:
    every = scenario.checkpoint.every
    return rounds_done == scenario.rounds or (every > 0 and rounds_done % every == 0)


def _pool(runtime: Runtime, simulation: Simulation) -> ClientPool:
    if runtime.pool == "serial":
        return simulation.serial_pool()
    return simulation.ray_pool(
        runtime.num_workers, runtime.ray_address, runtime.patience_seconds, runtime.gpus_per_worker
    )


def stored_runtime(folder: Path) -> Runtime:
    """Return where a run of a folder was to run.

    Raises:
        ResultsError: The folder holds no run.
    """
    return make_scenario(read_manifest(folder)["scenario"], f"{folder}/manifest.json").runtime
