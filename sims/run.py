"""Run one scenario, or take up where one stopped."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..core.declarations import ClientData, declared
from ..core.errors import CheckpointError, ResultsError, ScenarioError, said
from ..core.locks import FolderLock
from ..core.outside import only_our_own
from ..server.checkpoint import Checkpoint, drop_older, load_newest
from ..server.guarantee.reading import stated
from ..server.mail.mailbox_trees import misfit
from ..server.simulation import Simulation, prepare
from .audits import AuditTrail
from .execution import execute
from .folders import claimed, fresh_folder
from .outside_code import code_of
from .ownership import distrusted, refuse_cluster
from .progress import Progress, Silent
from .provenance import (
    NO_CONSENT,
    Consent,
    accepted,
    begun_with,
    changed_code,
    changed_data,
    keep_code,
    notes,
    refuse_absent,
    refuse_changes,
    with_live,
)
from .report.writing import complete_report
from .results import FINISHED, Run, load_run, read_manifest
from .run_tables import rows_of
from .scenario import Scenario, fingerprint, make_scenario
from .sections import Runtime
from .signals import resumable
from .tracking import make_tracker, untracked
from .watch import make_watches
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
    scenario = scenario.settled()
    simulation = prepare(scenario.run_spec())
    check_probes(scenario, simulation)
    folder = Path(out) if out is not None else fresh_folder(RESULTS, scenario.name)
    begun = {**begun_with(scenario, simulation), "guarantee": stated(simulation.plan)}
    begun |= with_live(scenario.values())
    if columns := declared(simulation.data, ClientData.columns):
        begun["columns"] = [column.plain() for column in columns]
    if metrics := simulation.evaluator.task.metrics:
        begun["metrics"] = list(metrics)
    with claimed(folder), resumable(folder):
        writer = RunWriter.create(folder, scenario, simulation.choice, label, begun)
        keep_code(scenario, folder)
        return execute(scenario, simulation, writer, None, progress or Silent(), number)


def check_probes(scenario: Scenario, simulation: Simulation) -> None:
    """Raise ``GauntletError`` where a probe or an audit cannot look at what it is to look at."""
    make_tracker(scenario)
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
    A finished run is handed back as it is, with its page where that is missing.

    Raises:
        CheckpointError: No checkpoint can be read.
        ResultsError: The folder holds no run, another process runs it, or code, versions or data are others.
        PluginError: The folder is of others, and names code from outside the package.
    """
    folder = Path(folder)
    why = distrusted(folder, read_manifest(folder), consent.allow_code)
    if read_manifest(folder)["status"] in FINISHED:
        complete_report(folder, progress or Silent())
        return load_run(folder)
    with FolderLock(folder), only_our_own(why), resumable(folder):
        manifest = read_manifest(folder)
        if manifest["status"] in FINISHED:  # meanwhile, by another process
            return load_run(folder)
        scenario = stored_scenario(folder, manifest)
        refuse_cluster(scenario.runtime, runtime or scenario.runtime, why)
        refuse_absent(folder, scenario.values())
        changed = changed_code(manifest, code_of(scenario.values()))
        refuse_changes(folder, changed, consent)
        if runtime is not None:
            scenario = scenario.model_copy(update={"runtime": runtime})
        simulation = prepare(scenario.run_spec(), begun=manifest.get("training"))
        changed += changed_data(manifest, simulation)
        refuse_changes(folder, changed, consent)
        check = partial(check_checkpoint, folder, simulation)
        found, damaged = load_newest(folder / "checkpoints", manifest["fingerprint"], check)
        writer, progress = RunWriter.reopen(folder, found), progress or Silent()
        scenario = scenario if why is None else untracked(scenario)
        if found is not None:
            drop_older(found.path)  # of which the process died before it did
        for reason in damaged:
            line = f"{reason}; going on from {found.path.stem if found else 'the beginning'}"
            writer.note(line)
            progress.note(line)
        _go_on(writer, manifest, scenario, simulation, changed, found, progress)
        return execute(scenario, simulation, writer, found, progress, number)


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


def check_checkpoint(folder: Path, simulation: Simulation, checkpoint: Checkpoint) -> None:
    """Raise ``GauntletError`` unless a checkpoint fits the run, and its rows are there."""
    check_state(simulation, checkpoint)
    rows_of(folder, checkpoint)


def check_state(simulation: Simulation, checkpoint: Checkpoint) -> None:
    """Raise ``CheckpointError`` unless a checkpoint's state fits the run."""
    for name in ("params", "buffers"):
        came, needed = (getattr(state, name).numel() for state in (checkpoint.state, simulation.first))
        if came != needed:
            raise CheckpointError(f"{checkpoint.path} holds {came} {name}, the model has {needed}")
    needed = simulation.plan.exchange.memory.num_parameters
    for client, row in checkpoint.state.clients.items():
        if len(row) != needed:
            raise CheckpointError(
                f"{checkpoint.path}: client {client} remembers {len(row)} numbers, the algorithm has {needed}"
            )
    if why := misfit(checkpoint.state, simulation.plan):
        raise CheckpointError(f"{checkpoint.path}: {why}")
    kept, wanted = checkpoint.state.pre_aggregations, len(simulation.plan.pre_aggregations)
    if not isinstance(kept, tuple) or len(kept) != wanted:
        raise CheckpointError(f"{checkpoint.path} does not hold the memories of {wanted} pre-aggregations")
    _check_ledger(checkpoint, simulation)


_LEDGER = ("rule", "charges", "clients", "precisions", "reason")  # of every version


def _check_ledger(checkpoint: Checkpoint, simulation: Simulation) -> None:
    """Raise ``CheckpointError`` unless what a checkpoint says was spent of privacy can be added to."""
    ledger = checkpoint.state.ledger
    why = f"{checkpoint.path} does not say what was spent of privacy"
    lacks = [key for key in _LEDGER if not isinstance(ledger, Mapping) or key not in ledger]
    if lacks:
        raise CheckpointError(f"{why}: {', '.join(lacks)} missing")
    try:
        simulation.plan.accountant.epsilon(ledger)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{why}: {said(error)}") from error


def stored_runtime(folder: Path) -> Runtime:
    """Return where a run of a folder was to run.

    Raises:
        ResultsError: The folder holds no run.
    """
    return make_scenario(read_manifest(folder)["scenario"], f"{folder}/manifest.json").runtime
