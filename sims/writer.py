"""Write a run's result folder while the run goes on.

Rows are appended to journals; a checkpoint counts on those of the tables by their digest. The files that
pandas reads are made of them when the run ends. A run of schema 1 wrote those files at every checkpoint.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..clients.placement.stackable import Choice
from ..core.disk import append, make_folder, sync_folder
from ..core.errors import ResultsError
from ..core.locks import NAME as LOCK
from ..core.trees import State
from ..privacy.accounting import Epsilon
from ..server.checkpoint import Checkpoint
from ..server.plan import Plan
from .catch_up_table import catch_up_rows
from .earlier import by_round, old_tables, timings_until
from .folders import RESERVE, check_free
from .frame_table import FRAMES, frame_rows
from .journal import Journal, Mark, read_tables
from .layer_table import LAYERS, layer_rows
from .records import (
    CERTIFICATES,
    CLIENTS,
    OUTPUTS,
    PERSONAL,
    ROUNDS,
    SCORES,
    TIMINGS,
    certificate_rows,
    output_rows,
    personal_rows,
    rounds_schema,
    rows,
    score_rows,
)
from .results import JOURNALS, SCHEMA, Run, digest, read_manifest, write_json, write_table
from .robustness import ATTACKS, CLASSES, attack_rows, class_rows
from .scenario import Scenario
from .spent import settled

if TYPE_CHECKING:
    from ..server.simulation import Step

TABLES = {
    "rounds": ROUNDS,
    "clients": CLIENTS,
    "classes": CLASSES,
    "attacks": ATTACKS,
    "scores": SCORES,
    "outputs": OUTPUTS,
}
OPTIONAL = {"personal": PERSONAL, "certificates": CERTIFICATES, "frames": FRAMES, "layers": LAYERS}
_TIMES = {"timings": TIMINGS}
_TIMES_OF_ROUND = pa.struct(list(TIMINGS))
_RESERVED = 2**16  # bytes
_PASSING = {
    *JOURNALS,
    LOCK,
    RESERVE,
    "manifest.json",
    "timings.parquet",
    "report.html",
}  # differs between equal runs


class RunWriter:
    """Write a run's folder as it goes; what a checkpoint counts on never changes."""

    def __init__(self, folder: Path, manifest: dict[str, Any], tables: Journal, timings: Journal) -> None:
        self.folder, self._manifest = folder, manifest
        self._tables, self._timings = tables, timings
        self._round = pa.struct(list(_schemas(manifest)["rounds"]))

    @classmethod
    def create(
        cls,
        folder: Path,
        scenario: Scenario,
        choice: Choice,
        label: str = "",
        begun: Mapping[str, Any] = MappingProxyType({}),
    ) -> RunWriter:
        """Make a new run's folder.

        Args:
            folder: Where.
            scenario: What is run.
            choice: How its clients train.
            label: What distinguishes the run from others beside it.
            begun: Further keys of the manifest: what the run was begun with; under ``metrics`` the names of
                what its task measures.

        Raises:
            PluginError: A measure has the name of another column.
            ResultsError: The folder holds something already, or cannot be made.
        """
        check_free(folder)
        _schemas(begun)
        manifest = {
            "schema": SCHEMA,
            "scenario": scenario.values(),
            "fingerprint": scenario.fingerprint(begun.get("code")),
            "label": label,
            "seed": scenario.seed,
            "status": "running",
            "training": choice.stored,
            "machine": {"platform": platform.platform(), "processor": platform.machine()},
            **begun,
        }
        try:
            make_folder(folder)
        except OSError as error:
            raise ResultsError(f"{folder} cannot be made: {error.strerror}") from error
        tables, timings = (folder / name for name in JOURNALS)
        writer = cls(
            folder, manifest, Journal(tables, _schemas(manifest), None, OPTIONAL), Journal(timings, _TIMES)
        )
        writer._reserve()
        write_json(folder / "manifest.json", manifest)
        return writer

    @classmethod
    def reopen(cls, folder: Path, checkpoint: Checkpoint | None) -> RunWriter:
        """Open an unfinished run's folder, and forget what came after ``checkpoint``; None: everything.

        Raises:
            ResultsError: The folder holds no run, or not the tables that the checkpoint counts on.
        """
        done = 0 if checkpoint is None else checkpoint.state.round
        tables = (
            Journal(folder / JOURNALS[0], _schemas(read_manifest(folder)), None, OPTIONAL)
            if checkpoint is None
            else rows_of(folder, checkpoint)
        )
        timings = Journal(folder / JOURNALS[1], _TIMES)
        timings.add("timings", timings_until(folder, done))
        manifest = read_manifest(folder) | {"schema": SCHEMA}
        writer = cls(folder, manifest, tables, timings)
        writer._reserve()
        writer._mark("running", None)
        return writer

    def add(self, plan: Plan, step: Step) -> dict[str, Any]:
        """Take one round's rows, which reach the disk with the next ``flush``; return that of the round."""
        of_round, of_clients = rows(plan, step)
        self._tables.add("rounds", _row(self._round, of_round))
        self._tables.add("clients", of_clients)
        if step.score:
            self._tables.add("classes", class_rows(step.outcome.round, step.score))
            self._tables.add("attacks", attack_rows(plan, step.outcome.round, step.score))
        self._tables.add("scores", score_rows(step, plan.exchange.statement.names))
        if step.score:
            self._tables.add("outputs", output_rows(step.outcome.round, step.score))
        if step.personal:
            self._tables.add("personal", personal_rows(plan, step))
        if step.certificates:
            self._tables.add("certificates", certificate_rows(step))
        if (frames := frame_rows(plan, step)) is not None:
            self._tables.add("frames", frames)
        if (missed := catch_up_rows(plan, step)) is not None:
            self._tables.add("frames", missed)
        if (layers := layer_rows(plan, step)) is not None:
            self._tables.add("layers", layers)
        rate = len(step.outcome.sent) / step.seconds if step.seconds > 0 else None
        times = {
            "round": step.outcome.round,
            "seconds": step.seconds,
            "aggregation_seconds": step.outcome.aggregation_seconds,
            "encode_seconds": step.outcome.encode_seconds,
            "decode_seconds": step.outcome.decode_seconds,
            "clients_per_second": rate,
        }
        self._timings.add("timings", _row(_TIMES_OF_ROUND, times))
        return {column.name: of_round[column.name] for column in self._round}

    def flush(self) -> State:
        """Put the rows so far on the disk; return what a checkpoint has to hold, to count on them.

        Raises:
            ResultsError: The disk is full or not writable; the rows of the last flush are still there.
        """
        self._timings.flush(synced=False)
        return self._tables.flush().stored

    @property
    def label(self) -> str:
        """What distinguishes this run from others beside it."""
        return str(self._manifest["label"])

    @property
    def fingerprint(self) -> str:
        """The hash of the scenario and the code that the run was begun with."""
        return str(self._manifest["fingerprint"])

    def keep(self, keys: Mapping[str, Any]) -> None:
        """Keep further keys in the manifest."""
        if keys:
            self._manifest |= keys
            write_json(self.folder / "manifest.json", self._manifest)

    def note(self, text: str) -> None:
        """Keep a line on what happened to the run, once; the next manifest that is written holds it."""
        notes = self._manifest.setdefault("notes", [])
        if text not in notes:
            notes.append(text)

    def finish(self, epsilon: Epsilon, stopped: str | None = None) -> Run:
        """Write the tables, mark the run as complete, and return it.

        Args:
            epsilon: What the whole run cost, by the tightest valid accountant; the table's column ends there.
            stopped: Why the privacy budget ended the run before its last round; None where it did not.
        """
        self.flush()
        self._manifest["epsilon"] = asdict(epsilon)
        self._export()
        self._manifest["files"] = _digests(self.folder)
        self._mark("budget_exhausted" if stopped else "complete", stopped)
        for name in (*JOURNALS, RESERVE):
            (self.folder / name).unlink(missing_ok=True)
        return Run(self.folder)

    def fail(self, reason: str) -> None:
        """Keep the rounds so far, and note why the run stopped; it can be resumed.

        On a full disk what can be kept is kept.
        """
        (self.folder / RESERVE).unlink(missing_ok=True)
        with suppress(ResultsError):
            self.flush()
            self._export()
        with suppress(ResultsError):
            self._mark("failed", reason)

    def _export(self) -> None:
        """Write the tables that pandas reads, from the journals; each whole or not at all."""
        for journal in JOURNALS:
            for name, table in read_tables(self.folder / journal).items():
                if name == "rounds":
                    table = settled(table, self._manifest.get("epsilon", {}))
                write_table(self.folder / f"{name}.parquet", table, named=False)
        sync_folder(self.folder)

    def _reserve(self) -> None:
        """Keep space for the manifest of a run that fails on a full disk."""
        try:
            append(self.folder / RESERVE, 0, bytes(_RESERVED), synced=False)
        except OSError as error:
            raise ResultsError(f"{self.folder} cannot be written: {error.strerror}") from error

    def _mark(self, status: str, reason: str | None) -> None:
        self._manifest |= {"status": status, "reason": reason}
        write_json(self.folder / "manifest.json", self._manifest)


def rows_of(folder: Path, checkpoint: Checkpoint) -> Journal:
    """Return the journal of a run up to where a checkpoint counts on it; nothing is written yet.

    Where there is no journal, as in schema 1 and in a finished run, it is made of the tables.

    Raises:
        ResultsError: The rows are not there, or are others than those that the checkpoint counts on.
    """
    path, mark, schemas = folder / JOURNALS[0], _mark_of(checkpoint), _schemas(read_manifest(folder))
    if mark is not None and (path.is_file() or not (folder / "rounds.parquet").is_file()):
        return Journal(path, schemas, mark, OPTIONAL)
    tables, rounds = Journal(path, schemas, None, OPTIONAL), checkpoint.state.round
    for name, table in by_round(old_tables(folder, schemas, rounds), rounds):
        tables.add(name, table)
    if mark not in (None, tables.end):
        raise ResultsError(f"the tables in {folder} are not those that {checkpoint.path.name} counts on")
    return tables


def _schemas(manifest: Mapping[str, Any]) -> dict[str, pa.Schema]:
    """Return the columns of a run's tables.

    Raises:
        ResultsError: The manifest does not say which.
    """
    metrics = manifest.get("metrics", [])
    if not (isinstance(metrics, list) and all(isinstance(name, str) for name in metrics)):
        raise ResultsError(f"a run's manifest has metrics {metrics!r}: that is none of this version's")
    linked = manifest.get("scenario", {}).get("link") is not None
    return {**TABLES, "rounds": rounds_schema(metrics, linked)}


def _mark_of(checkpoint: Checkpoint) -> Mark | None:
    """Return up to where a checkpoint counts on its run's journal; None in schema 1."""
    try:
        return None if checkpoint.beside is None else Mark.read(checkpoint.beside["tables"])
    except (TypeError, KeyError, ValueError) as error:
        raise ResultsError(f"{checkpoint.path} does not say which rows it counts on") from error


def _row(columns: pa.DataType, values: dict[str, Any]) -> pa.Table:
    """Return a table of one row; a structure is converted as one, five times as fast as column by column."""
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array([values], columns))])


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a finished run, but for those that differ between equal runs."""
    inside = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): digest(path.read_bytes())
        for name, path in inside.items()
        if name.parts[0] not in (*_PASSING, "plots", "tracking") and name.suffix != ".part"
    }
