"""The tables of a run: which there are, the rows of one round in each, and the rows up to a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..core.errors import ResultsError
from .catch_up_table import catch_up_rows
from .earlier import by_round, old_tables
from .fairness_table import FAIRNESS, fairness_rows
from .frame_table import FRAMES, frame_rows
from .journal import Journal, Mark
from .layer_table import LAYERS, layer_rows
from .records import (
    CERTIFICATES,
    CLIENTS,
    OUTPUTS,
    PERSONAL,
    ROUNDS,
    SCORES,
    certificate_rows,
    output_rows,
    personal_rows,
    rounds_schema,
    rows,
    score_rows,
)
from .results import JOURNALS, read_manifest
from .robustness import ATTACKS, CLASSES, attack_rows, class_rows
from .work_table import WORK, work_rows

if TYPE_CHECKING:
    from ..server.checkpoint import Checkpoint
    from ..server.plan import Plan
    from ..server.simulation import Step

TABLES = {
    "rounds": ROUNDS,
    "clients": CLIENTS,
    "classes": CLASSES,
    "attacks": ATTACKS,
    "scores": SCORES,
    "outputs": OUTPUTS,
}
OPTIONAL = {
    "personal": PERSONAL,
    "fairness": FAIRNESS,
    "certificates": CERTIFICATES,
    "frames": FRAMES,
    "layers": LAYERS,
    "work": WORK,
}


def rows_of_round(
    plan: Plan, step: Step, columns: pa.DataType
) -> tuple[dict[str, Any], list[tuple[str, pa.Table]]]:
    """Return one round's row of ``rounds``, and (name, rows) of every table that has some.

    Args:
        plan: What stays.
        step: The round.
        columns: Those of ``rounds``, as a structure.
    """
    of_round, of_clients = rows(plan, step)
    told = {column.name: of_round.get(column.name) for column in columns}  # a round without a score
    return told, [
        ("rounds", one_row(columns, of_round)),
        ("clients", of_clients),
        *_scored(plan, step),
        *_further(plan, step),
    ]


def _scored(plan: Plan, step: Step) -> Iterator[tuple[str, pa.Table]]:
    """Yield what the round's evaluation says, and what defenses said of clients."""
    round_, score = step.outcome.round, step.score
    if score:
        yield "classes", class_rows(round_, score)
        yield "attacks", attack_rows(plan, round_, score)
    yield "scores", score_rows(step, plan.exchange.statement.names)
    if score:
        yield "outputs", output_rows(round_, score)


def _further(plan: Plan, step: Step) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of tables that only some runs have."""
    if step.personal:
        yield "personal", personal_rows(plan, step)
        yield "fairness", fairness_rows(plan, step)
    if step.certificates:
        yield "certificates", certificate_rows(step)
    for name, found in (
        ("frames", frame_rows(plan, step)),
        ("frames", catch_up_rows(plan, step)),
        ("layers", layer_rows(plan, step)),
        ("work", work_rows(plan, step)),
    ):
        if found is not None:
            yield name, found


def rows_of(folder: Path, checkpoint: Checkpoint) -> Journal:
    """Return the journal of a run up to where a checkpoint counts on it; nothing is written yet.

    Where there is no journal, as in schema 1 and in a finished run, it is made of the tables.

    Raises:
        ResultsError: The rows are not there, or are others than those that the checkpoint counts on.
    """
    path, mark, kinds = folder / JOURNALS[0], _mark_of(checkpoint), schemas(read_manifest(folder))
    if mark is not None and (path.is_file() or not (folder / "rounds.parquet").is_file()):
        return Journal(path, kinds, mark, OPTIONAL)
    tables, rounds = Journal(path, kinds, None, OPTIONAL), checkpoint.state.round
    for name, table in by_round(old_tables(folder, kinds, rounds), rounds):
        tables.add(name, table)
    if mark not in (None, tables.end):
        raise ResultsError(f"the tables in {folder} are not those that {checkpoint.path.name} counts on")
    return tables


def schemas(manifest: Mapping[str, Any]) -> dict[str, pa.Schema]:
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


def one_row(columns: pa.DataType, values: dict[str, Any]) -> pa.Table:
    """Return a table of one row; a structure is converted as one, five times as fast as column by column."""
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array([values], columns))])
