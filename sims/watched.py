"""A run that somebody watches puts its rows on the disk every second, not only with its checkpoints."""

import os
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from ..core.errors import ResultsError

if TYPE_CHECKING:
    from .writer import RunWriter

VARIABLE = "GAUNTLET_LIVE"  # of the environment: set where somebody watches
_EVERY = 1.0  # seconds


class Watched:
    """Show a run's rows while it goes on, if its process was told that somebody watches.

    No checkpoint counts on them yet: after a kill they are dropped, and made again.
    """

    def __init__(self) -> None:
        self._on, self._last = bool(os.environ.get(VARIABLE)), monotonic()

    def show(self, writer: "RunWriter") -> None:
        """Write the rows so far, at most once a second; a full disk is the next checkpoint's matter."""
        if self._on and monotonic() - self._last >= _EVERY:
            with suppress(ResultsError):
                writer.flush()
            self._last = monotonic()
