"""One run, one folder: a manifest, tables that pandas reads alone, observations, checkpoints, plots."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.disk import read_plain, write_whole
from ..core.errors import ResultsError, legible
from .encoding import columns_of, encode, features_of
from .handed import no_run, path_of
from .journal import read_tables
from .parquet import table_of
from .rebuilt import Rebuilt, load_rebuilt
from .spent import settled_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from .inferred import Inferred

SCHEMA = 2
SCHEMAS = (1, SCHEMA)  # of manifests that are read
JOURNALS = ("tables.journal", "timings.journal")  # the tables of a run that is not finished
VERDICT = "audit.json"  # what an audit found out, in a run's folder
PREDICTIVE = "predictive.parquet"  # what posterior samples predict together, one row a sample
VERDICT_POSTERIOR = "posterior.json"  # the same of the whole run
ATTACKED = "attacked"  # what later attacks made of recorded messages, in a run's folder
FINISHED = ("complete", "budget_exhausted")  # of a manifest's status: nothing is left to run
_KEYS = {"scenario": dict, "fingerprint": str, "label": str, "seed": int, "status": str}  # of any manifest


@dataclass(frozen=True)
class Run:
    """A result folder.

    Attributes:
        folder: Where it is.
        origin: Which of several result folders, each a run or a sweep, it was loaded from; empty if alone.
    """

    folder: Path
    origin: str = ""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's scenario, versions, machine, status and ``notes``, lines to be read with caution."""
        return {"notes": [], **read_manifest(self.folder)}

    def _table(self, name: str) -> "pd.DataFrame":
        try:
            with legible(f"{self.folder / name}.parquet cannot be read"):
                table = self._going_on.get(name)
                found = table_of(self._content(f"{name}.parquet")) if table is None else table
                return found.to_pandas(ignore_metadata=True)
        except FileNotFoundError as error:
            raise ResultsError(self._absent(name)) from error
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(f"{self.folder / name}.parquet cannot be read: {first_line(error)}") from error

    @cached_property
    def _going_on(self) -> dict[str, pa.Table]:
        """The tables so far of a run that is not finished; none where their files are whole."""
        paths = [self.folder / name for name in JOURNALS if self.manifest["status"] not in FINISHED]
        return {n: table for path in paths if path.is_file() for n, table in read_tables(path).items()}

    def _content(self, name: str) -> bytes:
        """Return one of the run's files, which must be what the run wrote where the manifest knows that."""
        content = read_plain(self.folder / name)
        expected = self.manifest.get("files", {}).get(name)
        if expected not in (None, digest(content)):
            raise ResultsError(f"{self.folder / name} is damaged: it is not what the run wrote")
        return content

    def _absent(self, name: str) -> str:
        if self._going_on or self.manifest["status"] in FINISHED:
            return f"{self.folder / name}.parquet is not there"
        return f"{self.folder} has no round on disk yet; 'gauntlet resume {self.folder}' goes on with the run"

    @cached_property
    def rounds(self) -> "pd.DataFrame":
        """One row a round; where the run is finished, no epsilon above what the whole run cost."""
        return settled_frame(self._table("rounds"), self.manifest.get("epsilon"))

    @cached_property
    def clients(self) -> "pd.DataFrame":
        """One row a client and round."""
        return self._table("clients")

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """One row a round, client and name, where the defense says more than a flag and a score."""
        return self._table("scores")

    @cached_property
    def classes(self) -> "pd.DataFrame":
        """One row a class and evaluated round."""
        return self._table("classes")

    @cached_property
    def personal(self) -> "pd.DataFrame | None":
        """One row a client and evaluated round: how models do on what it holds out; else None."""
        return self._where_there("personal")

    @cached_property
    def fairness(self) -> "pd.DataFrame | None":
        """One row a model and evaluated round: how its accuracy is spread over honest clients; else None."""
        return self._where_there("fairness")

    @cached_property
    def certificates(self) -> "pd.DataFrame | None":
        """One row a column of the defense's certificate and evaluated round; None where it has none."""
        return self._where_there("certificates")

    @cached_property
    def frames(self) -> "pd.DataFrame | None":
        """One row a frame and round: what it cost and lost; None where messages go as float32 both ways."""
        return self._where_there("frames")

    @cached_property
    def layers(self) -> "pd.DataFrame | None":
        """One row a layer and round, of the round's first message; None where no codec shortens layers."""
        return self._where_there("layers")

    @cached_property
    def work(self) -> "pd.DataFrame | None":
        """One row a message: when its client began, how long it worked, whether it counted; else None."""
        return self._where_there("work")

    def _where_there(self, name: str) -> "pd.DataFrame | None":
        there = name in self._going_on or (self.folder / f"{name}.parquet").is_file()
        return self._table(name) if there else None

    @cached_property
    def outputs(self) -> "pd.DataFrame":
        """One row an output of a regression and evaluated round."""
        return self._table("outputs")

    @cached_property
    def attacks(self) -> "pd.DataFrame":
        """One row an attack with a goal on test examples and evaluated round."""
        return self._table("attacks")

    @cached_property
    def timings(self) -> "pd.DataFrame":
        """Wall-clock seconds of each round: the only table that differs between equal runs."""
        return self._table("timings")

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """What the run's audit found out about epsilon, or None where it had none."""
        return self._verdict(VERDICT)

    def _verdict(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = json.loads(self._content(name))
        except (OSError, ValueError, RecursionError) as error:
            raise ResultsError(f"{path} cannot be read: {first_line(error)}") from error
        return found

    @cached_property
    def posterior(self) -> "pd.DataFrame | None":
        """One row a parameter of what a sampler kept, or None where nothing was sampled."""
        return self._table("posterior") if (self.folder / PREDICTIVE).is_file() else None

    @cached_property
    def predictive(self) -> "pd.DataFrame | None":
        """One row a posterior sample, or None where nothing was sampled."""
        return self._table("predictive") if (self.folder / PREDICTIVE).is_file() else None

    @cached_property
    def sampled(self) -> dict[str, Any] | None:
        """What all posterior samples say together, or None where nothing was sampled."""
        return self._verdict(VERDICT_POSTERIOR)

    def gallery(self) -> list[Rebuilt]:
        """Return what the leakage attacks of its probes rebuilt, in the order of rounds and clients."""
        return self._rebuilt("reconstructions")

    def attacked(self) -> list[Rebuilt]:
        """Return what leakage attacks rebuilt of the recorded messages later, by ``gauntlet attack``."""
        return self._rebuilt(ATTACKED)

    def inferences(self) -> "list[Inferred]":
        """Return what inference attacks said: of its probes, then of those by ``gauntlet attack``."""
        from .inferred import answers

        return [one for name in ("inferences", ATTACKED) for one in answers(self.folder / name)]

    def _rebuilt(self, name: str) -> list[Rebuilt]:
        places = (place for place in sorted((self.folder / name).glob("*")) if place.is_dir())
        columns = columns_of(self.manifest)
        return [load_rebuilt(place, columns) for place in places if place.suffix != ".part"]

    def model(self, allow_code: bool = False) -> "nn.Module":
        """Return the trained global model, in evaluation mode on the CPU; see ``trained.trained_model``."""
        from .trained import trained_model

        return trained_model(self.folder, allow_code)[0]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the model's inputs, in order, where the data are a table; else empty."""
        return features_of(self.manifest)

    def encode(self, rows: Any) -> "Tensor":
        """Return rows of the same columns as the model's inputs; see ``encoding.encode``.  # [n, F]"""
        return encode(self.manifest, rows, self.folder)

    def plot(self, name: str, by: str | None = None) -> "Figure":
        """Return one of the plots that ``gauntlet plot`` draws, of this run alone."""
        from .plots import draw

        return draw(name, [self], None, **({} if by is None else {"by": by}))

    def _repr_html_(self) -> str:
        from .shown import run_html

        return run_html(self)


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest.

    Raises:
        ResultsError: The folder holds no run, or none of this version.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise ResultsError(no_run(folder))
    manifest = read_json(path, {"schema": int})
    if manifest["schema"] not in SCHEMAS:
        raise ResultsError(f"{path} is of schema {manifest['schema']}, expected 1 to {SCHEMA}")
    check_keys(path, manifest, _KEYS | ({"files": dict} if "files" in manifest else {}))
    check_keys(path, manifest["scenario"], {"name": str}, "scenario.")
    if manifest["status"] in FINISHED:
        check_keys(path, manifest, {"epsilon": dict})
        check_keys(path, manifest["epsilon"], {"value": object, "reason": object}, "epsilon.")
    return manifest


def read_json(path: Path, keys: Mapping[str, type]) -> dict[str, Any]:
    """Return the table that a file holds, which has those keys of those types.

    Raises:
        ResultsError: The file cannot be read, or holds something else.
    """
    try:
        found = json.loads(read_plain(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise ResultsError(f"{path} cannot be read: it holds {found!r:.40}, expected a table of keys")
    check_keys(path, found, keys)
    return found


def check_keys(path: Path, table: Mapping[str, Any], keys: Mapping[str, type], where: str = "") -> None:
    """Raise ``ResultsError`` unless a table of a file, at ``where`` in it, has those keys of those types."""
    for key, kind in keys.items():
        if key not in table:
            raise ResultsError(f"{path} cannot be read: key '{where}{key}' is missing")
        if not isinstance(table[key], kind):
            said = f"'{where}{key}' is {table[key]!r:.40}, expected {kind.__name__}"
            raise ResultsError(f"{path} cannot be read: {said}")


def load_run(folder: str | Path) -> Run:
    """Return a finished or unfinished run.

    Raises:
        ResultsError: The folder holds no run.
    """
    run = Run(path_of(folder, "folder"))
    read_manifest(run.folder)
    return run


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; what is raised, as in ``write_table``."""
    write_file(path, json.dumps(value, indent=1).encode())


def write_table(path: Path, table: pa.Table, named: bool = True) -> None:
    """Write a table as Parquet, whole or not at all.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_file(path, memoryview(sink.getvalue()), named)


def write_file(path: Path, content: bytes | memoryview, named: bool = True) -> None:
    """Write a file whole or not at all; ``named``, and what is raised, as in ``write_table``."""
    try:
        write_whole(path, content, named=named)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from error


def digest(content: bytes) -> str:
    """Return what a manifest says of a file's content."""
    return blake2b(content, digest_size=32).hexdigest()
