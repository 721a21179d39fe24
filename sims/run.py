"""Run one scenario, or take up where one stopped."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from ..clients.pools.base import ClientPool
from ..core.errors import GauntletError, ResultsError, ScenarioError
from ..core.outside import only_our_own
from ..privacy.accounting import Epsilon
from ..server.checkpoint import load_checkpoint, save_checkpoint
from ..server.simulation import Simulation, prepare
from ..server.state import ServerState
from .audits import AuditTrail
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
from .results import FINISHED, Run, fresh_folder, load_run, read_manifest
from .scenario import Scenario, make_scenario
from .sections import Runtime
from .signals import resumable, undisturbed
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
    begun = begun_with(scenario, simulation)
    with resumable(folder):
        writer = RunWriter.create(folder, scenario, simulation.choice, label, begun)
        keep_code(scenario, folder)
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
    consent: Consent = NO_CONSENT,
) -> Run:
    """Take up an unfinished run: the same bits as if it had never stopped.

    Raises:
        CheckpointError: The newest checkpoint cannot be read.
        ResultsError: The folder holds no run, or code, versions or data have changed.
        PluginError: The folder is of others, and names code from outside the package.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    why = distrusted(folder, manifest, consent.allow_code)
    if manifest["status"] in FINISHED:
        return load_run(folder)
    scenario = _stored_scenario(folder, manifest)
    refuse_cluster(scenario.runtime, runtime or scenario.runtime, why)
    changed = changed_code(manifest, code_of(scenario.values()))
    refuse_changes(folder, changed, consent)
    if runtime is not None:
        scenario = scenario.model_copy(update={"runtime": runtime})
    with only_our_own(why), resumable(folder):
        simulation = prepare(scenario.run_spec(), begun=manifest.get("training"))
        changed += changed_data(manifest, simulation)
        refuse_changes(folder, changed, consent)
        state = load_checkpoint(folder / "checkpoints", manifest["fingerprint"]) or simulation.first
        writer, progress = RunWriter.reopen(folder, state.round), progress or Silent()
        writer.keep(accepted(manifest, scenario, simulation, changed, state.round))
        for line in notes(manifest, changed, state.round):
            progress.note(f"{writer.label or scenario.name}: {line}")
        keep_code(scenario, folder)
        return _execute(scenario, simulation, writer, state, progress, number)


def _stored_scenario(folder: Path, manifest: Mapping[str, Any]) -> Scenario:
    """Return the scenario that a manifest holds.

    Raises:
        ResultsError: It is not the one that the run began with.
    """
    scenario = make_scenario(manifest["scenario"], f"{folder}/manifest.json")
    if scenario.fingerprint(manifest.get("code", {})) != manifest["fingerprint"]:
        raise ResultsError(
            f"{folder}/manifest.json: the scenario does not fit its fingerprint; it was changed, or begun by "
            "a version with other keys"
        )
    return scenario


def _execute(
    scenario: Scenario,
    simulation: Simulation,
    writer: RunWriter,
    state: ServerState,
    progress: Progress,
    number: int,
) -> Run:
    """Run the rounds that are left; whatever happens, what is on disk can be resumed."""
    on_ray, saved, whole = scenario.runtime.pool == "ray", state.round, True
    label = writer.label or scenario.name
    pool = _pool(scenario.runtime, simulation)
    try:
        submit = submit_to_ray if on_ray else submit_later
        probes = Probes(scenario, simulation, writer.folder, state.round, submit)
        trail = AuditTrail(simulation, writer.folder, state.round)
        progress.note(f"{label}: {simulation.choice.reason}")
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
        probes.collect()
    except KeyboardInterrupt:
        if whole and state.round > saved:
            _save(writer, trail, state)
        raise
    except GauntletError as error:
        writer.fail(str(error))
        raise
    finally:
        pool.close()
    return writer.finish(epsilon, stopped)


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
    writer.flush()
    trail.flush()
    save_checkpoint(writer.folder / "checkpoints", state, writer.fingerprint)


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
