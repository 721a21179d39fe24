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
from .earlier import timings_until
from .folders import RESERVE, check_free
from .journal import Journal, read_tables
from .records import TIMINGS
from .results import JOURNALS, SCHEMA, Run, digest, read_manifest, write_json, write_table
from .run_tables import OPTIONAL, one_row, rows_of, rows_of_round, schemas
from .scenario import Scenario
from .spent import settled

if TYPE_CHECKING:
    from ..server.simulation import Step

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
        self._round = pa.struct(list(schemas(manifest)["rounds"]))

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
        schemas(begun)
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
            folder, manifest, Journal(tables, schemas(manifest), None, OPTIONAL), Journal(timings, _TIMES)
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
            Journal(folder / JOURNALS[0], schemas(read_manifest(folder)), None, OPTIONAL)
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
        of_round, tables = rows_of_round(plan, step, self._round)
        for name, table in tables:
            self._tables.add(name, table)
        rate = len(step.outcome.sent) / step.seconds if step.seconds > 0 else None
        times = {
            "round": step.outcome.round,
            "seconds": step.seconds,
            "aggregation_seconds": step.outcome.aggregation_seconds,
            "encode_seconds": step.outcome.encode_seconds,
            "decode_seconds": step.outcome.decode_seconds,
            "clients_per_second": rate,
        }
        self._timings.add("timings", one_row(_TIMES_OF_ROUND, times))
        return of_round

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


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a finished run, but for those that differ between equal runs."""
    inside = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): digest(path.read_bytes())
        for name, path in inside.items()
        if name.parts[0] not in (*_PASSING, "plots", "tracking") and name.suffix != ".part"
    }
