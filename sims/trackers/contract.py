"""What every tracker owes. One whose modules are not installed is looked at as far as it can be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...core.contracts import TrackedRun
from ...core.declarations import Trackers, declared
from ...core.registry import require
from ..names import installed

if TYPE_CHECKING:
    from ...core.contracts import Tracker, TrackSession

ROWS = [(t, {"round": float(t), "accuracy": t / 10, "loss": 1 / 3 + t}) for t in range(4)]


def names_modules_that_it_needs(tracker: Tracker) -> None:
    """What it imports can be looked for before a run begins."""
    for name in declared(tracker, Trackers.needs):
        require(name.replace(".", "").isidentifier(), f"needs names '{name}', which is no module")


def counts_the_rounds_that_it_takes(tracker: Tracker) -> None:
    """A new run's session has no round; after some it says which it has."""
    for session in _session(tracker):
        require(session.done == 0, f"a new run's session has done = {session.done}, expected 0")
        session.rounds(ROWS[:2])
        require(session.done == 2, f"after two rounds done is {session.done}, expected 2")


def goes_on_where_it_stopped(tracker: Tracker) -> None:
    """Another session of the same run begins after its rounds, and takes the rest and the end."""
    for session in _session(tracker, ROWS[:2]):
        require(session.done == 2, f"a session that goes on has done = {session.done}, expected 2")
        session.rounds(ROWS[2:])
        require(session.done == 4, f"after four rounds done is {session.done}, expected 4")
        session.finish({"accuracy": 0.3}, {}, {})


def _session(tracker: Tracker, before: Any = ()) -> Iterator[TrackSession]:
    """Return a session, after an earlier one that took some rounds; none where a module is missing."""
    if not all(map(installed, declared(tracker, Trackers.needs))):
        return
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if before:
            first = tracker.open(_run(Path(folder)))
            first.rounds(before)
            first.close()
        session: TrackSession = tracker.open(_run(Path(folder), len(before)))
        yield session
        session.close()


def _run(folder: Path, done: int = 0) -> TrackedRun:
    return TrackedRun("contract", folder, folder / "tracking", "contract", {"rounds": "4"}, done)


CHECKS = (names_modules_that_it_needs, counts_the_rounds_that_it_takes, goes_on_where_it_stopped)
