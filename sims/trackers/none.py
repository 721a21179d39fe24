"""No tracker: the result folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.contracts import TrackedRun
from ...core.contracts.tracking import Numbers


@dataclass(frozen=True)
class NoTracker:
    """Show a run to nobody."""

    def open(self, run: TrackedRun) -> Nothing:
        return Nothing(run.done)


@dataclass
class Nothing:
    """A session that forgets everything."""

    done: int

    def rounds(self, rows: Sequence[tuple[int, Numbers]]) -> None:
        self.done = max([self.done, *(round_ + 1 for round_, _ in rows)])

    def finish(self, summary: Numbers, pictures: Mapping[str, Path], tables: Mapping[str, Path]) -> None:
        return None

    def close(self) -> None:
        return None
