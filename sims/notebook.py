"""How a run tells that it goes on in a notebook: in one cell's output, a bar a run."""

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

from .progress import Headline, Pace
from .shown import bars_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EVERY = 0.2  # seconds between two pictures at least


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def pictured(figure: "Figure") -> "Figure":
    """Return a figure, which a notebook shows as a picture, also without ``%matplotlib inline``."""
    if in_notebook():
        from IPython import get_ipython
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(get_ipython(), {"png"})
    return figure


class Cells:
    """A ``Progress`` as HTML in the output of a notebook's cell."""

    def __init__(self) -> None:
        self._paces: dict[int, Pace] = {}
        self._done: dict[int, int] = {}
        self._notes: list[str] = []
        self._handle: Any = None
        self._last = 0.0

    def begin(self, run: int, label: str, rounds: int, done: int) -> None:
        self._paces[run], self._done[run] = Pace(label, rounds, done), done
        self._show()

    def advance(self, run: int, round_: int, score: Headline | None, clients: int, seconds: float) -> None:
        self._paces[run].advance(round_, score, clients, seconds)
        self._done[run] = round_ + 1
        self._show()

    def end(self, run: int) -> None:
        self._show(now=True)

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._show()

    def close(self) -> None:
        self._show(now=True)

    def _show(self, now: bool = False) -> None:
        if not now and self._handle is not None and monotonic() - self._last < _EVERY:
            return
        from IPython.display import HTML, display

        bars = [(p.label, self._done[run], p.rounds, p.score) for run, p in self._paces.items()]
        page = HTML(bars_html(bars, self._notes))
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)
        self._last = monotonic()
