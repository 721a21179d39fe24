"""Tables as runs of schema 1 kept them: Parquet files that every checkpoint wrote anew, with no digest."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import ResultsError
from .journal import read_tables
from .records import TIMINGS
from .results import JOURNALS, first_line


def old_tables(folder: Path, schemas: Mapping[str, pa.Schema], rounds: int) -> dict[str, pa.Table]:
    """Return the first rounds of the tables that a run of schema 1 wrote, with the columns of ``schemas``.

    Raises:
        ResultsError: A table cannot be read, or stops before that.
    """
    if rounds == 0:
        return {}
    tables = {name: _read(folder / f"{name}.parquet", schema, rounds) for name, schema in schemas.items()}
    if tables["rounds"].num_rows != rounds:
        raise ResultsError(
            f"{folder}/rounds.parquet holds {tables['rounds'].num_rows} of {rounds} rounds that the "
            "checkpoint counts"
        )
    return tables


def _read(path: Path, schema: pa.Schema, rounds: int) -> pa.Table:
    if not path.is_file():
        raise ResultsError(f"{path} cannot be read: it is not there")
    try:
        return until(pq.read_table(path), schema, rounds)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ResultsError(f"{path} cannot be read: {first_line(error)}") from error


def until(table: pa.Table, schema: pa.Schema, rounds: int) -> pa.Table:
    """Return a table's rows of the first rounds with these columns, empty where it has none of the name."""
    import pyarrow.compute as pc

    first = table.filter(pc.less(table["round"], rounds))
    return pa.concat_tables([schema.empty_table(), first], promote_options="default").select(schema.names)


def by_round(tables: Mapping[str, pa.Table], rounds: int) -> Iterator[tuple[str, pa.Table]]:
    """Yield (table, its rows of one round): all tables of a round, then those of the next."""
    ends = {n: t["round"].to_numpy().searchsorted(range(rounds + 1)) for n, t in tables.items()}
    for number in range(rounds):
        for name, table in tables.items():
            begin, end = ends[name][number : number + 2].tolist()
            # No slice, which would hold its neighbours' strings as well, and be written with other bytes.
            yield name, table.take(pa.array(range(begin, end), pa.int64()))


def timings_until(folder: Path, rounds: int) -> pa.Table:
    """Return what is left of the first rounds' times; nothing hangs on them."""
    path, old = folder / JOURNALS[1], folder / "timings.parquet"
    with suppress(OSError, KeyError, pa.ArrowException, ResultsError):
        table = read_tables(path)["timings"] if path.is_file() else pq.read_table(old)
        return until(table, TIMINGS, rounds)
    return TIMINGS.empty_table()
