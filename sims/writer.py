"""Write a run's result folder while the run goes on."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..clients.vectorize import Choice
from ..core.errors import ResultsError
from ..privacy.accounting import Epsilon
from ..server.plan import Plan
from ..server.simulation import Step
from .records import CLIENTS, OUTPUTS, ROUNDS, SCORES, TIMINGS, output_rows, rows, score_rows
from .results import SCHEMA, Run, check_free, first_line, read_manifest, write_json
from .robustness import ATTACKS, CLASSES, attack_rows, class_rows
from .scenario import Scenario

_LONG = {  # many rows a round
    "clients": CLIENTS,
    "classes": CLASSES,
    "attacks": ATTACKS,
    "scores": SCORES,
    "outputs": OUTPUTS,
}


class RunWriter:
    """Write a run's folder as it goes; what is on disk is always whole."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self._manifest = folder, manifest
        self._rounds: list[dict[str, Any]] = []
        self._long: dict[str, list[pa.Table]] = {name: [] for name in _LONG}
        self._timings: list[dict[str, Any]] = []

    @classmethod
    def create(
        cls,
        folder: Path,
        scenario: Scenario,
        choice: Choice,
        label: str = "",
        begun: Mapping[str, Any] = MappingProxyType({}),
    ) -> "RunWriter":
        """Make a new run's folder.

        Args:
            folder: Where.
            scenario: What is run.
            choice: How its clients train.
            label: What distinguishes the run from others beside it.
            begun: Further keys of the manifest: what the run was begun with.

        Raises:
            ResultsError: The folder holds something already, or cannot be made.
        """
        check_free(folder)
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
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(f"{folder} cannot be made: {error.strerror}") from error
        writer = cls(folder, manifest)
        write_json(folder / "manifest.json", manifest)
        return writer

    @classmethod
    def reopen(cls, folder: Path, round_: int) -> "RunWriter":
        """Open an unfinished run's folder, and forget everything from ``round_`` on.

        Raises:
            ResultsError: The folder holds no run, or its tables stop before ``round_``.
        """
        writer = cls(folder, read_manifest(folder))
        if round_ == 0:
            return writer
        tables = {name: _read(folder, name, round_) for name in ("rounds", "timings", *_LONG)}
        if tables["rounds"].num_rows != round_:
            raise ResultsError(
                f"{folder}/rounds.parquet holds {tables['rounds'].num_rows} of {round_} rounds that the "
                "checkpoint counts"
            )
        writer._rounds = tables["rounds"].to_pylist()
        writer._long = {name: [tables[name]] for name in _LONG}
        writer._timings = tables["timings"].to_pylist()
        return writer

    def add(self, plan: Plan, step: Step) -> None:
        """Take one round's rows; they reach the disk with the next ``flush``."""
        of_round, of_clients = rows(plan, step)
        self._rounds.append(of_round)
        self._long["clients"].append(of_clients)
        self._long["scores"].append(score_rows(step))
        if step.score:
            self._long["classes"].append(class_rows(step.outcome.round, step.score))
            self._long["outputs"].append(output_rows(step.outcome.round, step.score))
            self._long["attacks"].append(attack_rows(plan, step.outcome.round, step.score))
        rate = len(step.outcome.sent) / step.seconds if step.seconds > 0 else None
        self._timings.append(
            {
                "round": step.outcome.round,
                "seconds": step.seconds,
                "aggregation_seconds": step.outcome.aggregation_seconds,
                "clients_per_second": rate,
            }
        )

    def flush(self) -> None:
        """Write the tables.

        Raises:
            ResultsError: The disk is full or not writable; the tables of the last flush are still there.
        """
        for name, schema in _LONG.items():
            whole = pa.concat_tables([schema.empty_table(), *self._long[name]]).combine_chunks()
            self._long[name] = [whole]
            _write_table(self.folder / f"{name}.parquet", whole)
        _write_table(self.folder / "timings.parquet", pa.Table.from_pylist(self._timings, schema=TIMINGS))
        _write_table(self.folder / "rounds.parquet", pa.Table.from_pylist(self._rounds, schema=ROUNDS))

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

    def finish(self, epsilon: Epsilon, stopped: str | None = None) -> Run:
        """Write what is left, mark the run as complete, and return it.

        Args:
            epsilon: What the whole run cost, by the tightest valid accountant; the column of the table is
                a live bound and can be larger.
            stopped: Why the privacy budget ended the run before its last round; None where it did not.
        """
        self.flush()
        self._manifest["epsilon"] = asdict(epsilon)
        self._mark("budget_exhausted" if stopped else "complete", stopped)
        return Run(self.folder)

    def fail(self, reason: str) -> None:
        """Keep the rounds so far, and note why the run stopped; it can be resumed."""
        self.flush()
        self._mark("failed", reason)

    def _mark(self, status: str, reason: str | None) -> None:
        self._manifest |= {"status": status, "reason": reason}
        write_json(self.folder / "manifest.json", self._manifest)


def _read(folder: Path, name: str, rounds: int) -> pa.Table:
    import pyarrow.compute as pc

    try:
        table = pq.read_table(folder / f"{name}.parquet")
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{folder / name}.parquet cannot be read: {first_line(error)}") from error
    return table.filter(pc.less(table["round"], rounds))


def _write_table(path: Path, table: pa.Table) -> None:
    part = path.with_suffix(".part")
    try:
        pq.write_table(table, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResultsError(f"{path} cannot be written: {error.strerror or first_line(error)}") from error
