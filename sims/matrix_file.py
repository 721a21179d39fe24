"""The table of a matrix as its folder holds it: read, and those of its fields taken that are asked for."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ResultsError, ScenarioError, unknown
from .matrix_table import NO_ATTACK, WORST
from .naming import means
from .overrides import parse

if TYPE_CHECKING:
    import pandas as pd

AXES = ("defense", "attack", "share")
"""What a matrix crosses: the columns that every one of its tables has."""


def read_matrix(folder: Path) -> "pd.DataFrame":
    """Return ``matrix.csv``: one row a defense, share and attack.

    Raises:
        ResultsError: The folder holds no table of a matrix that can be read.
    """
    import pandas as pd

    path = folder / "matrix.csv"
    try:
        found = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    for name in AXES:
        if name not in found:
            raise ResultsError(f"{path} cannot be read: it has no column '{name}'")
    return found


def conditions(said: Iterable[str], known: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the values that ``axis=value`` allow on each axis that one of them names.

    Args:
        said: The conditions; those on one axis allow each other. A plug-in of a file is named as tables show
            it, or by ``path/to/file.py:Class``.
        known: What stands on each of ``AXES``.

    Raises:
        ScenarioError: A condition on something else than ``AXES``, or one that nothing meets.
    """
    wanted: dict[str, list[Any]] = {}
    for condition in said:
        axis, value = parse(condition, "--only")
        if axis not in AXES:
            raise ScenarioError(f"--only {condition}: {unknown('axis of a matrix', axis, AXES)}")
        if not any(means(value, one) for one in known[axis]):
            there = ", ".join(str(one) for one in dict.fromkeys(known[axis]))
            raise ScenarioError(f"--only {condition} leaves no field: it is {there}")
        wanted.setdefault(axis, []).append(value)
    return wanted


def taken(wanted: Mapping[str, Sequence[Any]], axis: str, value: object) -> bool:
    """Return whether ``conditions`` allow this value on an axis."""
    return axis not in wanted or any(means(one, value) for one in wanted[axis])


def only_fields(table: "pd.DataFrame", said: Iterable[str]) -> "pd.DataFrame":
    """Return the fields for which every ``axis=value`` holds, see ``conditions``.

    Without its own condition the worst case stays, which is that of all attacks; with one on attacks it goes
    unless named.

    Raises:
        ScenarioError: A condition on something else than ``AXES``, or one that holds for no field.
    """
    said = list(said)
    wanted = conditions(said, {axis: list(table[axis]) for axis in AXES})
    for axis in wanted:
        table = table[[taken(wanted, axis, one) for one in table[axis]]]
    if table.empty:
        raise ScenarioError(f"--only {' --only '.join(said)} leaves no field")
    return table.reset_index(drop=True)


def with_somebody_to_find(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table without the recall, which is 1, of fields in which nobody attacks."""
    if "recall" not in table:
        return table
    nobody = table["attack"] == NO_ATTACK
    if "caught" in table:  # a share of the attackers: of none it is empty
        nobody |= (table["attack"] != WORST) & table["caught"].isna()
    return table.assign(recall=table["recall"].mask(nobody))
