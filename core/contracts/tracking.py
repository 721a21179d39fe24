"""What a tracker owes: it shows a run's numbers in somebody else's tool, and decides none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Numbers = Mapping[str, float]
"""The finite numbers of a round's row, by column."""


@dataclass(frozen=True)
class TrackedRun:
    """A run that is to be tracked.

    Attributes:
        name: What people call it.
        folder: Its result folder.
        place: A folder of the tracker's own within it, which ``gauntlet verify`` leaves alone.
        identity: What tells it from any other run: of a run that is resumed, the same as before.
        settings: Everything that decides it, by dotted path, in words.
        done: The first round that was not handed over before; 0 for a new run.
    """

    name: str
    folder: Path
    place: Path
    identity: str
    settings: Mapping[str, str]
    done: int = 0


class TrackSession(Protocol):
    """An open connection to the tool. It may hold files and sockets; a run never asks it anything."""

    @property
    def done(self) -> int:
        """The first round that the tool does not have yet, as far as it can tell: at least the run's own."""

    def rounds(self, rows: Sequence[tuple[int, Numbers]]) -> None:
        """Take rounds in ascending order, each with its numbers; they are on the disk or sent on return."""

    def finish(self, summary: Numbers, pictures: Mapping[str, Path], tables: Mapping[str, Path]) -> None:
        """Take what is known at the end: numbers, PNG files and Parquet files, by name."""

    def close(self) -> None:
        """Let go of everything; what was taken stays. Called once, whatever happened."""


class Tracker(Protocol):
    """Options of a tool, with one verb. What it may declare: ``core.declarations.Trackers``."""

    def open(self, run: TrackedRun) -> Any:
        """Return a ``TrackSession`` for a new run, or for one that goes on: in the same place."""
