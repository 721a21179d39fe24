"""One run, one folder: a manifest, tables that pandas reads alone, observations, checkpoints, plots."""

import json
import platform
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import ResultsError
from ..privacy.accounting import Epsilon
from ..server.plan import Plan
from ..server.simulation import Step
from .records import CLIENTS, ROUNDS, TIMINGS, client_rows, round_row
from .scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCHEMA = 1
_PACKAGES = ("torch", "ray", "numpy", "pandas", "pyarrow", "scikit-learn", "dp-accounting", "flwr-datasets")


@dataclass(frozen=True)
class Rebuilt:
    """A batch that an attack rebuilt, beside the truth, in the truth's order.

    Attributes:
        attack: The attack's name.
        round: The observed round.
        client_id: The observed client.
        truth: What the client trained on.  # [B, ...]
        rebuilt: What the attack made of its message.  # [B, ...]
        psnr: Peak signal-to-noise ratio of each, in dB.  # [B]
        ssim: Structural similarity of each; NaN where the inputs are no images.  # [B]
        truth_labels: True labels.  # [B]
        labels: Rebuilt labels.  # [B]
    """

    attack: str
    round: int
    client_id: int
    truth: np.ndarray[Any, Any]
    rebuilt: np.ndarray[Any, Any]
    psnr: np.ndarray[Any, Any]
    ssim: np.ndarray[Any, Any]
    truth_labels: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Run:
    """A result folder."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's scenario, versions, machine and status."""
        return read_manifest(self.folder)

    def _table(self, name: str) -> "pd.DataFrame":
        try:
            return pq.read_table(self.folder / f"{name}.parquet").to_pandas()
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(f"{self.folder / name}.parquet cannot be read: {_line(error)}") from error

    @cached_property
    def rounds(self) -> "pd.DataFrame":
        """One row a round."""
        return self._table("rounds")

    @cached_property
    def clients(self) -> "pd.DataFrame":
        """One row a client and round."""
        return self._table("clients")

    @cached_property
    def timings(self) -> "pd.DataFrame":
        """Wall-clock seconds of each round: the only table that differs between equal runs."""
        return self._table("timings")

    def gallery(self) -> list[Rebuilt]:
        """Return what leakage attacks rebuilt, in the order of rounds and clients."""
        from .reconstruct import load_rebuilt

        folder = self.folder / "reconstructions"
        return [load_rebuilt(place) for place in sorted(folder.glob("*")) if place.is_dir()]

    def plot(self, name: str, by: str | None = None) -> "Figure":
        """Return one of the plots that ``gauntlet plot`` draws, of this run alone."""
        from .plots import draw

        return draw(name, [self], **({} if by is None else {"by": by}))


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest.

    Raises:
        ResultsError: The folder holds no run, or none of this version.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA:
            raise ResultsError(f"{path} is of schema {manifest['schema']}, expected {SCHEMA}")
    except FileNotFoundError as error:
        raise ResultsError(f"{folder} holds no run (no manifest.json)") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} cannot be read: {_line(error)}") from error
    found: dict[str, Any] = manifest
    return found


def load_run(folder: str | Path) -> Run:
    """Return a finished or unfinished run.

    Raises:
        ResultsError: The folder holds no run.
    """
    run = Run(Path(folder))
    read_manifest(run.folder)
    return run


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    part = path.with_suffix(".part")
    try:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from error


class RunWriter:
    """Write a run's folder as it goes; what is on disk is always whole."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self._manifest = folder, manifest
        self._rounds: list[dict[str, Any]] = []
        self._clients: list[pa.Table] = []
        self._timings: list[dict[str, Any]] = []

    @classmethod
    def create(cls, folder: Path, scenario: Scenario, label: str = "") -> "RunWriter":
        """Make a new run's folder.

        Raises:
            ResultsError: The folder holds something already, or cannot be made.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ResultsError(f"{folder} already holds {_holds(folder)}; choose another --out, or resume it")
        manifest = {
            "schema": SCHEMA,
            "scenario": scenario.values(),
            "fingerprint": scenario.fingerprint(),
            "label": label,
            "seed": scenario.seed,
            "status": "running",
            "versions": _versions(),
            "machine": {"platform": platform.platform(), "processor": platform.machine()},
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
        tables = {name: _read(folder, name, round_) for name in ("rounds", "clients", "timings")}
        if tables["rounds"].num_rows != round_:
            raise ResultsError(
                f"{folder}/rounds.parquet holds {tables['rounds'].num_rows} of {round_} rounds that the "
                "checkpoint counts"
            )
        writer._rounds = tables["rounds"].to_pylist()
        writer._clients = [tables["clients"]]
        writer._timings = tables["timings"].to_pylist()
        return writer

    def add(self, plan: Plan, step: Step) -> None:
        """Take one round's rows; they reach the disk with the next ``flush``."""
        self._rounds.append(round_row(plan, step))
        self._clients.append(client_rows(plan, step))
        rate = len(step.outcome.sent) / step.seconds if step.seconds > 0 else None
        self._timings.append(
            {"round": step.outcome.round, "seconds": step.seconds, "clients_per_second": rate}
        )

    def flush(self) -> None:
        """Write the tables.

        Raises:
            ResultsError: The disk is full or not writable; the tables of the last flush are still there.
        """
        self._clients = [pa.concat_tables(self._clients).combine_chunks()] if self._clients else []
        clients = self._clients[0] if self._clients else CLIENTS.empty_table()
        _write_table(self.folder / "clients.parquet", clients)
        _write_table(self.folder / "timings.parquet", pa.Table.from_pylist(self._timings, schema=TIMINGS))
        _write_table(self.folder / "rounds.parquet", pa.Table.from_pylist(self._rounds, schema=ROUNDS))

    @property
    def label(self) -> str:
        """What distinguishes this run from others beside it."""
        return str(self._manifest["label"])

    def finish(self, epsilon: Epsilon) -> Run:
        """Write what is left, mark the run as complete, and return it.

        Args:
            epsilon: What the whole run cost, by the tightest valid accountant; the column of the table is
                a live bound and can be larger.
        """
        self.flush()
        self._manifest["epsilon"] = asdict(epsilon)
        self._mark("complete", None)
        return Run(self.folder)

    def fail(self, reason: str) -> None:
        """Keep the rounds so far, and note why the run stopped; it can be resumed."""
        self.flush()
        self._mark("failed", reason)

    def _mark(self, status: str, reason: str | None) -> None:
        self._manifest |= {"status": status, "reason": reason}
        write_json(self.folder / "manifest.json", self._manifest)


def _holds(folder: Path) -> str:
    try:
        manifest = read_manifest(folder)
    except ResultsError:
        return "other files"
    return f"the {manifest['status']} run '{manifest['scenario']['name']}' (seed {manifest['seed']})"


def _read(folder: Path, name: str, rounds: int) -> pa.Table:
    import pyarrow.compute as pc

    try:
        table = pq.read_table(folder / f"{name}.parquet")
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{folder / name}.parquet cannot be read: {_line(error)}") from error
    return table.filter(pc.less(table["round"], rounds))


def _write_table(path: Path, table: pa.Table) -> None:
    part = path.with_suffix(".part")
    try:
        pq.write_table(table, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResultsError(f"{path} cannot be written: {error.strerror or _line(error)}") from error


def _versions() -> dict[str, str]:
    from ..core.version import VERSION

    found = {"gauntlet": VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def fresh_folder(root: Path, name: str) -> Path:
    """Return ``root/name``, or ``root/name-2`` and so on where that is taken."""
    folder, number = root / name, 1
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = root / f"{name}-{number}"
    return folder


def remove(folder: Path) -> None:
    """Delete a result folder that holds a run or a sweep, for ``--overwrite``.

    Raises:
        ResultsError: The folder holds something else: nothing is deleted.
    """
    if not folder.exists():
        return
    if not ((folder / "manifest.json").is_file() or (folder / "sweep.json").is_file()):
        raise ResultsError(f"{folder} holds no run; --overwrite deletes only results")
    shutil.rmtree(folder)
