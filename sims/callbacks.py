"""Functions of the user's that see every round of a run, or of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import PASSED, PluginError, said

if TYPE_CHECKING:
    from .progress import Headline, Progress

Callback = Callable[[dict[str, Any]], Any]
"""Is handed a round's row: the columns of ``rounds.parquet``, and ``run``, the label of the run."""


class CalledBack:
    """A ``Progress`` that tells another one everything, and callbacks the rows."""

    def __init__(self, told: Progress, callbacks: Sequence[Callback]) -> None:
        self._told, self._callbacks = told, callbacks
        self._labels: dict[int, str] = {}

    def begin(self, run: int, label: str, rounds: int, done: int) -> None:
        self._labels[run] = label
        self._told.begin(run, label, rounds, done)

    def row(self, run: int, values: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            try:
                callback({"run": self._labels[run], **values})
            except PASSED:
                raise
            except Exception as error:
                called = getattr(callback, "__name__", type(callback).__name__)
                raise PluginError(f"callback '{called}' raised {said(error)}") from error

    def advance(self, run: int, round_: int, score: Headline | None, clients: int, seconds: float) -> None:
        self._told.advance(run, round_, score, clients, seconds)

    def end(self, run: int) -> None:
        self._told.end(run)

    def note(self, text: str) -> None:
        self._told.note(text)

    def close(self) -> None:
        self._told.close()
