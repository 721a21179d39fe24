"""Run one scenario, or take up where one stopped."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from ..clients.pools.base import ClientPool
from ..core.errors import CheckpointError, GauntletError, ResultsError, ScenarioError
from ..core.locks import FolderLock
from ..server.checkpoint import Checkpoint, load_newest, save_checkpoint
from ..server.guarantee import stated
from ..server.simulation import Simulation, prepare
from ..server.state import ServerState
from .audits import AuditTrail
from .folders import claimed, fresh_folder
from .posterior import write_posterior
from .probes import Probes, submit_later, submit_to_ray
from .progress import Progress, Silent, report
from .results import FINISHED, Run, first_line, load_run, read_manifest
from .scenario import Scenario, fingerprint, make_scenario
from .sections import Runtime
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
    with claimed(folder):
        writer = RunWriter.create(folder, scenario, simulation.choice, label, stated(simulation.plan))
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
) -> Run:
    """Take up an unfinished run: the same bits as if it had never stopped.

    Where the newest checkpoint or the rows that it counts on are damaged, it goes on from the one before.

    Raises:
        CheckpointError: No checkpoint can be read.
        ResultsError: The folder holds no run, or another process runs it.
    """
    folder = Path(folder)
    if read_manifest(folder)["status"] in FINISHED:
        return load_run(folder)
    with FolderLock(folder):
        manifest = read_manifest(folder)
        if manifest["status"] in FINISHED:  # meanwhile, by another process
            return load_run(folder)
        scenario = stored_scenario(folder, manifest)
        if runtime is not None:
            scenario = scenario.model_copy(update={"runtime": runtime})
        simulation = prepare(scenario.run_spec(), begun=manifest.get("training"))
        checkpoints, begun = folder / "checkpoints", manifest["fingerprint"]
        found, damaged = load_newest(checkpoints, begun, partial(_check, folder, simulation))
        writer, progress = RunWriter.reopen(folder, found), progress or Silent()
        for reason in damaged:
            line = f"{reason}; going on from {found.path.stem if found else 'the beginning'}"
            writer.note(line)
            progress.note(line)
        return _execute(scenario, simulation, writer, found, progress, number)


def stored_scenario(folder: Path, manifest: Mapping[str, Any]) -> Scenario:
    """Return the scenario that a manifest holds; keys that its version did not have take their defaults.

    Raises:
        ResultsError: It is not the one that the run began with.
    """
    if fingerprint(manifest["scenario"]) != manifest["fingerprint"]:
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
    on_ray = scenario.runtime.pool == "ray"
    pool = _pool(scenario.runtime, simulation)
    try:
        submit = submit_to_ray if on_ray else submit_later
        probes = Probes(scenario, simulation, writer.folder, state.round, submit)
        kept = None if begin is None or begin.beside is None else begin.beside["audit"]
        trail = AuditTrail(simulation, writer.folder, state.round, kept)
        progress.note(f"{writer.label or scenario.name}: {simulation.choice.reason}")
        for warning in simulation.warnings():
            progress.note(f"{writer.label or scenario.name}: warning: {warning}")
        progress.begin(number, writer.label or scenario.name, scenario.rounds, state.round)
        stopped, begun = simulation.out_of_budget(state), monotonic()
        for step in simulation.steps(pool, state):
            state, stopped = step.state, step.stopped
            writer.add(simulation.plan, step)
            probes.watch(step)
            trail.watch(step)
            report(progress, number, step, monotonic() - begun)
            if _due(scenario, step.state.round) or stopped:
                _save(writer, trail, step.state)
            del step  # its updates, before the next round's are there
        progress.end(number)
        if stopped:
            done = f"stopped after {state.round} of {scenario.rounds} rounds"
            progress.note(f"{writer.label or scenario.name}: {done}: {stopped}")
        epsilon = simulation.plan.accountant.epsilon(state.ledger, tight=True)
        trail.finish(state, epsilon)
        if write_posterior(simulation, writer.folder, state) == 0:
            progress.note(f"{writer.label or scenario.name}: no posterior sample was kept; lower burn_in")
        writer.put("probes", probes.record())
        for words in probes.complaints():
            writer.note(words)
            progress.note(f"{writer.label or scenario.name}: {words}")
        probes.collect()
        return writer.finish(epsilon, stopped)
    except GauntletError as error:
        writer.fail(str(error))
        raise
    except OSError as error:
        reason = f"{error.filename or writer.folder}: {error.strerror or first_line(error)}"
        writer.fail(reason)
        raise ResultsError(reason) from error
    finally:
        pool.close()


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
