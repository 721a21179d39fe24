"""Run one scenario, or take up where one stopped."""

from pathlib import Path
from time import monotonic

from ..clients.pools.base import ClientPool
from ..core.errors import GauntletError, ResultsError, ScenarioError
from ..server.checkpoint import load_checkpoint, save_checkpoint
from ..server.simulation import Simulation, prepare
from ..server.state import ServerState
from .audits import AuditTrail
from .posterior import write_posterior
from .probes import Probes, submit_later, submit_to_ray
from .progress import Progress, Silent, report
from .results import FINISHED, Run, fresh_folder, load_run, read_manifest
from .scenario import Scenario, make_scenario
from .sections import Runtime
from .writer import RunWriter

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
    folder = Path(out) if out is not None else fresh_folder(RESULTS, scenario.name)
    check_probes(scenario, simulation, folder)
    writer = RunWriter.create(folder, scenario, simulation.choice, label)
    return _execute(scenario, simulation, writer, simulation.first, progress or Silent(), number)


def check_probes(scenario: Scenario, simulation: Simulation, folder: Path) -> None:
    """Raise ``GauntletError`` where a probe or an audit cannot look at what it is to look at."""
    Probes(scenario, simulation, folder / "nothing yet", 0, submit_later)
    AuditTrail(simulation, folder, 0)


def resume(
    folder: str | Path,
    progress: Progress | None = None,
    *,
    runtime: Runtime | None = None,
    number: int = 0,
) -> Run:
    """Take up an unfinished run: the same bits as if it had never stopped.

    Raises:
        CheckpointError: The newest checkpoint cannot be read.
        ResultsError: The folder holds no run.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest["status"] in FINISHED:
        return load_run(folder)
    scenario = make_scenario(manifest["scenario"], f"{folder}/manifest.json")
    if scenario.fingerprint() != manifest["fingerprint"]:
        raise ResultsError(
            f"{folder}/manifest.json: the scenario does not fit its fingerprint; it was changed, or begun by "
            "a version with other keys"
        )
    if runtime is not None:
        scenario = scenario.model_copy(update={"runtime": runtime})
    simulation = prepare(scenario.run_spec(), begun=manifest.get("training"))
    state = load_checkpoint(folder / "checkpoints", scenario.fingerprint()) or simulation.first
    writer = RunWriter.reopen(folder, state.round)
    return _execute(scenario, simulation, writer, state, progress or Silent(), number)


def _execute(
    scenario: Scenario,
    simulation: Simulation,
    writer: RunWriter,
    state: ServerState,
    progress: Progress,
    number: int,
) -> Run:
    """Run the rounds that are left; whatever happens, what is on disk can be resumed."""
    on_ray = scenario.runtime.pool == "ray"
    pool = _pool(scenario.runtime, simulation)
    try:
        submit = submit_to_ray if on_ray else submit_later
        probes = Probes(scenario, simulation, writer.folder, state.round, submit)
        trail = AuditTrail(simulation, writer.folder, state.round)
        progress.note(f"{writer.label or scenario.name}: {simulation.choice.reason}")
        progress.begin(number, writer.label or scenario.name, scenario.rounds, state.round)
        stopped, begun = simulation.out_of_budget(state), monotonic()
        for step in simulation.steps(pool, state):
            state, stopped = step.state, step.stopped
            writer.add(simulation.plan, step)
            probes.watch(step)
            trail.watch(step)
            report(progress, number, step, monotonic() - begun)
            if _due(scenario, step.state.round) or stopped:
                writer.flush()
                trail.flush()
                save_checkpoint(writer.folder / "checkpoints", step.state, scenario.fingerprint())
            del step  # its updates, before the next round's are there
        progress.end(number)
        if stopped:
            done = f"stopped after {state.round} of {scenario.rounds} rounds"
            progress.note(f"{writer.label or scenario.name}: {done}: {stopped}")
        epsilon = simulation.plan.accountant.epsilon(state.ledger, tight=True)
        trail.finish(state, epsilon)
        if write_posterior(simulation, writer.folder, state) == 0:
            progress.note(f"{writer.label or scenario.name}: no posterior sample was kept; lower burn_in")
        writer.note("probes", probes.record())
        for words in probes.complaints():
            progress.note(f"{writer.label or scenario.name}: {words}")
        probes.collect()
    except GauntletError as error:
        writer.fail(str(error))
        raise
    finally:
        pool.close()
    return writer.finish(epsilon, stopped)


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
