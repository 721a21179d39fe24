"""How a run tells a person that it goes on: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .terminal import readable, say

if TYPE_CHECKING:
    from ..server.scoring.evaluation import Score
    from ..server.simulation import Step


Headline = tuple[str, float]
"""What a model's score is called, and the score."""


class Progress(Protocol):
    """Watch one run or several; ``run`` is the run's place among them.

    ``seconds`` are those since ``begin`` by the run's own clock: what is told may come late.

    May have ``row(run, values)``: the round's row of ``rounds.parquet``, before the same round's ``advance``.
    """

    def begin(self, run: int, label: str, rounds: int, done: int) -> None: ...

    def advance(
        self, run: int, round_: int, score: Headline | None, clients: int, seconds: float
    ) -> None: ...

    def end(self, run: int) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


def report(progress: Progress, run: int, step: Step, seconds: float, row: Mapping[str, Any]) -> None:
    """Tell ``progress`` of one round and its row, finished so many seconds after the first began."""
    wanted = getattr(progress, "row", None)
    if wanted is not None:
        wanted(run, row)
    score = headline(step.score) if step.score else None
    progress.advance(run, step.outcome.round, score, len(step.outcome.sent), seconds)


def headline(score: Score) -> Headline:
    """Return the one number that tells how a model does: perplexity of text, accuracy, RMSE of a regression.

    It is the first that the task measures besides accuracy, where there is one.
    """
    for name, value in score.metrics.items():
        return name, value
    if score.accuracy is not None:
        return "accuracy", score.accuracy
    return "RMSE", float("nan") if score.rmse is None else score.rmse


class Silent:
    """Say nothing: what Python callers get."""

    def begin(self, run: int, label: str, rounds: int, done: int) -> None:
        return None

    def advance(self, run: int, round_: int, score: Headline | None, clients: int, seconds: float) -> None:
        return None

    def end(self, run: int) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def close(self) -> None:
        return None


class Pace:
    """One run's speed so far."""

    def __init__(self, label: str, rounds: int, done: int) -> None:
        self.label, self.rounds, self.first = label, rounds, done
        self.clients = 0
        self._score: Headline | None = None

    @property
    def score(self) -> str:
        """The last score, with its name."""
        if self._score is None:
            return "not scored yet"
        name, value = self._score
        return f"{name} {value:.3f}" if name == "accuracy" else f"{name} {value:.5g}"

    def advance(
        self, round_: int, score: Headline | None, clients: int, seconds: float
    ) -> tuple[float, float]:
        """Return (clients per second, seconds left)."""
        self.clients += clients
        self._score = score or self._score
        seconds = max(seconds, 1e-9)
        done = round_ + 1 - self.first
        return self.clients / seconds, seconds / done * (self.rounds - round_ - 1)


class Lines:
    """One plain line for about every tenth of a run."""

    def __init__(self) -> None:
        self._paces: dict[int, Pace] = {}

    def begin(self, run: int, label: str, rounds: int, done: int) -> None:
        self._paces[run] = Pace(label, rounds, done)
        say(f"{label}: {rounds - done} rounds to go")

    def advance(self, run: int, round_: int, score: Headline | None, clients: int, seconds: float) -> None:
        pace = self._paces[run]
        rate, left = pace.advance(round_, score, clients, seconds)
        every = max(1, pace.rounds // 10)
        if (round_ + 1) % every == 0 or round_ + 1 == pace.rounds:
            say(
                f"{pace.label}: round {round_ + 1}/{pace.rounds}  {pace.score}  "
                f"{rate:,.0f} clients/s  {left:.0f} s left"
            )

    def end(self, run: int) -> None:
        return None

    def note(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        return None


class Bars:
    """One live bar a run."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Live

        self._live = Live(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[score]}"),
            TextColumn("{task.fields[rate]:,.0f} clients/s"),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
        )
        self._live.start()
        self._paces: dict[int, Pace] = {}
        self._tasks: dict[int, Any] = {}

    def begin(self, run: int, label: str, rounds: int, done: int) -> None:
        self._paces[run] = Pace(label, rounds, done)
        self._tasks[run] = self._live.add_task(
            readable(label), total=rounds, completed=done, score=self._paces[run].score, rate=0.0
        )

    def advance(self, run: int, round_: int, score: Headline | None, clients: int, seconds: float) -> None:
        pace = self._paces[run]
        rate, _ = pace.advance(round_, score, clients, seconds)
        self._live.update(self._tasks[run], completed=round_ + 1, score=pace.score, rate=rate)

    def end(self, run: int) -> None:
        return None

    def note(self, text: str) -> None:
        self._live.console.print(readable(text), markup=False, highlight=False)

    def close(self) -> None:
        self._live.stop()


def on_terminal() -> Progress:
    """Return bars where standard output is a terminal, and lines where it is not."""
    return Bars() if sys.stdout.isatty() else Lines()
