"""A finished matrix, as Python callers get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .matrix_file import with_somebody_to_find
from .shown import table_html

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_SHOWN = ("defense", "share", "attack", "best_accuracy", "accuracy", "drop", "recall", "precision", "reason")


@dataclass(frozen=True, eq=False)
class MatrixResult:
    """A matrix of attacks and defenses.

    Attributes:
        table: One row a defense, share and attack, as ``matrix.csv`` has them; see ``matrix_table``.
        folder: The result folder; ``gauntlet.load_sweep`` reads its runs.
    """

    table: pd.DataFrame
    folder: Path

    def plot(self, name: str = "accuracy") -> Figure:
        """Return a heat map of the matrix: one of ``plots.matrix.MAPS``.

        Raises:
            ScenarioError: No such map.
        """
        from .notebook import pictured
        from .plots.matrix import heat_maps

        return pictured(heat_maps(self.table, name))

    def _repr_html_(self) -> str:
        told = with_somebody_to_find(self.table)
        columns = [c for c in _SHOWN if c in told and told[c].notna().any()]
        rows = told[columns].round(4).astype(object).where(told[columns].notna(), "-")
        return table_html(str(self.folder), columns, rows.values.tolist())
