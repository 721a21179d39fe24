"""From rows of a table to the inputs of a model that a run trained on such a table, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clients.data.column import Array, Column, in_words, numbers
from ..core.errors import ResultsError, ScenarioError, legible, shown, unknown

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


def columns_of(manifest: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return how a run's table became its inputs, column by column; none where the data are no table.

    Raises:
        ResultsError: The manifest holds something else there.
    """
    with legible("the manifest's 'columns' cannot be read"):
        told = manifest.get("columns", [])
        return tuple(Column(**{**one, "known": tuple(one.get("known", ()))}) for one in told)


def features_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the model's inputs, in order; none where the data are no table."""
    return tuple(name for column in columns_of(manifest) for name in column.features)


def decoded(columns: tuple[Column, ...], inputs: Array) -> dict[str, list[str]] | None:
    """Return by column what inputs stand for; None where they are no rows of such a table.

    Args:
        columns: As ``columns_of`` returns them.
        inputs: Rows of a model's inputs.  # [n, F]
    """
    sizes = [len(column.features) for column in columns]
    if not columns or inputs.ndim != 2 or inputs.shape[1] != sum(sizes):
        return None
    parts = np.split(inputs, np.cumsum(sizes)[:-1], axis=1)
    return {column.name: column.cells(part) for column, part in zip(columns, parts, strict=True)}


def encode(manifest: Mapping[str, Any], frame: "pd.DataFrame | Mapping[str, Any]", folder: Path) -> "Tensor":
    """Return rows as the run's model is given them: with the scale and the categories of its training rows.

    A missing cell and a word that no training row had become what they became in the run's own table.

    Args:
        manifest: The run's.
        frame: A ``DataFrame``, or lists by column; other columns are ignored.
        folder: The run's, for messages.

    Returns:
        One row each, float32.  # [n, F]

    Raises:
        ResultsError: The run's data were no table, or an earlier version did not keep how it became inputs.
        ScenarioError: It is no table, or lacks a column.
        DataError: A cell that is no number, or no date.
    """
    import pandas as pd
    import torch

    columns = columns_of(manifest)
    if not columns:
        raise ResultsError(f"{folder} keeps no columns: its data are no table that csv or a DataFrame made")
    if not isinstance(frame, pd.DataFrame | Mapping):
        raise ScenarioError(f"rows must be a DataFrame, or lists by column, got {shown(frame)}")
    table = pd.DataFrame(frame)
    for column in columns:
        if column.name not in table.columns:
            raise ScenarioError(unknown("column of the run", column.name, map(str, table.columns)))
    gone = list(manifest["scenario"].get("data", {}).get("missing", ()))
    words = [in_words(table[column.name]) for column in columns]
    words = [np.where(np.isin(told, gone), "", told) for told in words]
    inputs = [column.of(_as_known(column, told)) for column, told in zip(columns, words, strict=True)]
    return torch.from_numpy(np.hstack(inputs))


def _as_known(column: Column, words: Array) -> Array:
    """Return a category's words as the run knows them: numbers by their size, 1 and 1.0 alike."""
    known = np.array(column.known)
    sizes = numbers(known)
    if not column.known or sizes is None:
        return words
    by_size = dict(zip(sizes.tolist(), column.known, strict=True))
    found = [
        by_size.get(size[0], word) if (size := numbers(np.array([word]))) is not None else word
        for word in words.tolist()
    ]
    return np.array(found, dtype=str)
