"""How runs on Ray tell their driver that they go on."""

from collections.abc import Mapping
from typing import Any

from .progress import Headline


class Board:
    """A Ray actor to which runs report, and which the driver reads."""

    def __init__(self) -> None:
        self._events: list[tuple[str, tuple[Any, ...]]] = []

    def tell(self, what: str, *values: Any) -> None:
        self._events.append((what, values))

    def take(self) -> list[tuple[str, tuple[Any, ...]]]:
        events, self._events = self._events, []
        return events


class Reporter:
    """A ``Progress`` that passes everything on to the board."""

    def __init__(self, board: Any) -> None:
        self._board = board

    def begin(self, run: int, label: str, rounds: int, done: int) -> None:
        self._board.tell.remote("begin", run, label, rounds, done)

    def advance(self, run: int, round_: int, score: Headline | None, clients: int, seconds: float) -> None:
        self._board.tell.remote("advance", run, round_, score, clients, seconds)

    def row(self, run: int, values: Mapping[str, Any]) -> None:
        self._board.tell.remote("row", run, dict(values))

    def end(self, run: int) -> None:
        self._board.tell.remote("end", run)

    def note(self, text: str) -> None:
        self._board.tell.remote("note", text)

    def close(self) -> None:
        return None
