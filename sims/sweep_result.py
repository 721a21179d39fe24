"""The runs of a sweep, as Python callers get them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .shown import runs_html

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .results import Run


class Sweep(list["Run"]):
    """The runs of a sweep in their order: a list that shows itself as a table in a notebook."""

    @property
    def table(self) -> pd.DataFrame:
        """One row a name: see ``summary.summary_rows``."""
        import pandas as pd

        from .summary import summary_rows

        return pd.DataFrame(summary_rows(self))

    def plot(self, name: str, by: str | None = None) -> Figure:
        """Return one of the plots that ``gauntlet plot`` draws, of these runs."""
        from .plots import draw

        runs: Sequence[Run] = self
        return draw(name, runs, None, **({} if by is None else {"by": by}))

    def _repr_html_(self) -> str:
        return runs_html(self)
