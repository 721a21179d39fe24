"""Hand a run's rounds to its tracker, after they are safe in the result folder and never before.

The tracker decides nothing: it is told after each checkpoint, and one that fails is left out for the rest of
the run, with one line of warning in the notes and on the console. A run that is resumed hands over what an
earlier process had no time for, and nothing twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.contracts import TrackedRun
from ..core.declarations import Trackers, declared
from ..core.errors import GauntletError, ScenarioError, said
from .names import installed
from .naming import settings
from .results import Run, read_json, write_json
from .sections import digest_of, plain
from .trackers import TRACKERS

if TYPE_CHECKING:
    from ..core.contracts import Tracker, TrackSession
    from .progress import Progress
    from .scenario import Scenario
    from .writer import RunWriter

FOLDER = "tracking"  # of a result folder: what trackers keep there
_PICTURES = ("summary", "reconstructions")  # plots that a tracker is handed


def make_tracker(scenario: Scenario) -> Tracker:
    """Return a scenario's tracker.

    Raises:
        PluginError: There is none of that name, or it takes other options.
        ScenarioError: A module that it needs is not installed.
    """
    named = scenario.track.spec()
    tracker = TRACKERS.build(named.name, named.options)
    for module in declared(tracker, Trackers.needs):
        if not installed(module):
            raise ScenarioError(
                f"track '{named.name}' needs {module}, which is not installed: pip install "
                f"'gauntlet-fl[{named.name}]', or leave track out"
            )
    return tracker


def untracked(scenario: Scenario) -> Scenario:
    """Return a scenario without its tracker: a folder of others may not say where numbers are sent."""
    return scenario.model_copy(update={"track": type(scenario).model_fields["track"].default})


class Tracking:
    """A run's tracker at work."""

    def __init__(self, scenario: Scenario, writer: RunWriter, round_: int, progress: Progress) -> None:
        """Open the tracker, and hand over what is on the disk of the rounds before ``round_``."""
        self._name, self._writer, self._progress = scenario.track.name, writer, progress
        self._pending: list[dict[str, Any]] = []
        self._session: TrackSession | None = None
        mark = digest_of(scenario.track.model_dump(mode="json"))
        place = writer.folder / FOLDER
        self._mark = place / f"{plain(self._name)}-{mark}.json"
        if scenario.track != type(scenario).model_fields["track"].default:
            self._attempt("begin", lambda: self._open(scenario, place / plain(self._name), round_))

    def take(self, row: dict[str, Any]) -> None:
        """Take a round's row; it is handed over with the next checkpoint."""
        if self._session is not None:
            self._pending.append(row)

    def save(self) -> None:
        """Hand over the rounds that a checkpoint holds."""
        pending, self._pending = self._pending, []
        if self._session is not None and pending:
            self._attempt("take rounds", lambda: self._hand_over(pending))

    def finish(self, run: Run) -> None:
        """Hand over the rest: the summary, pictures and tables of a run that is complete."""
        self.save()
        if self._session is not None:
            self._attempt("end", lambda: self._conclude(Run(run.folder)))
        self.close()

    def close(self) -> None:
        """Let go of the tool."""
        session, self._session = self._session, None
        if session is not None:
            self._attempt("close", session.close)

    def _open(self, scenario: Scenario, place: Path, round_: int) -> None:
        tracker, folder = make_tracker(scenario), self._writer.folder
        done = min(round_, read_json(self._mark, {"done": int})["done"]) if self._mark.is_file() else 0
        words = settings(scenario.values())
        identity = f"{self._writer.fingerprint}-{digest_of({'folder': str(folder.resolve())})}"
        name = ": ".join(part for part in (scenario.name, self._writer.label) if part)
        place.mkdir(parents=True, exist_ok=True)
        self._session = tracker.open(TrackedRun(name, folder, place, identity, words, done))
        if round_ > done:
            earlier = Run(folder).rounds
            self._hand_over(earlier[earlier["round"] < round_].to_dict("records"))

    def _hand_over(self, rows: Sequence[dict[str, Any]]) -> None:
        assert self._session is not None
        new = [(int(row["round"]), numbers_of(row)) for row in rows if row["round"] >= self._session.done]
        if new:
            self._session.rounds(new)
            write_json(self._mark, {"done": new[-1][0] + 1})

    def _conclude(self, run: Run) -> None:
        from .plots import draw_to

        assert self._session is not None
        last = numbers_of(run.rounds.iloc[-1].to_dict())
        value = run.manifest["epsilon"]["value"]
        summary = {**last, **({} if value is None else {"epsilon": value})}
        pictures = {}
        for name in _PICTURES:
            try:
                pictures[name] = draw_to(self._mark.parent / f"{name}.png", name, [run])
            except ScenarioError:  # nothing of it in this run
                continue
        tables = {path.stem: path for path in sorted(run.folder.glob("*.parquet"))}
        self._session.finish(summary, pictures, tables)

    def _attempt(self, what: str, work: Callable[[], Any]) -> None:
        """Do something with the tool; where it fails, go on without it and say so once."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tool's own code and what it builds on
                work()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: no tracker may end a run
            session, self._session = self._session, None
            if session is not None:
                with suppress(Exception, SystemExit):
                    session.close()
            why = str(error) if isinstance(error, GauntletError) else said(error)
            line = f"warning: track '{self._name}' could not {what}, and the run goes on without it: {why}"
            self._writer.note(line)
            self._writer.keep({"track": "failed"})
            self._progress.note(line)


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a row, truth values left out."""
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    }
