"""What the live page shows: the page of the folder as it is now, below a bar with progress and buttons."""

from importlib.resources import files
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from ...core.errors import GauntletError, legible, said
from ..report.document import page
from ..report.markup import Markup, element
from ..report.reading import Findings, planned, read, state_of
from ..results import JOURNALS

if TYPE_CHECKING:
    from ..results import Run
    from .child import Child

LEAST = 1.0  # seconds between two looks of a page
_PART = 0.1  # of the time is spent on making pages, at most


class LivePage:
    """The newest page of a folder; made again only when something has changed."""

    def __init__(self, folder: Path, child: "Child") -> None:
        self._folder, self._child, self._lock = folder, child, Lock()
        self._made: tuple[str, str] = ("", "")
        self._pause = LEAST

    @property
    def pause(self) -> float:
        """Seconds after which it is worth looking again."""
        return self._pause

    def stamp(self) -> str:
        """Return words that change when the page does."""
        names = [*JOURNALS, "manifest.json", "sweep.json", "matrix.csv"]
        places = [self._folder / name for name in names]
        places += [path for name in names for path in sorted(self._folder.glob(f"run-*/{name}"))]
        known = [(path, path.stat()) for path in places if path.is_file()]
        looks = [f"{path.name}{status.st_mtime_ns}{status.st_size}" for path, status in known]
        return f"{hash(tuple(looks)):x}{self._child.runs}{self._child.stopping}{self._child.printed}"

    def html(self) -> str:
        """Return the page."""
        with self._lock:
            stamp = self.stamp()
            if self._made[0] != stamp:
                begun = monotonic()
                self._made = stamp, self._fresh(stamp)
                self._pause = max(LEAST, (monotonic() - begun) / _PART)
            return self._made[1]

    def _fresh(self, stamp: str) -> str:
        name = self._folder.resolve().name
        script = (files(__package__) / "live.js").read_text(encoding="utf-8")
        try:
            with legible(f"{name} cannot be shown"):
                findings = read([self._folder], apart=True)
                return page(findings, script, self._bar(findings, stamp))
        except GauntletError as error:
            words = "Nothing is on disk yet." if self._child.runs else said(error, named=False)
        findings = Findings(name, "run", [], [], [words])
        return page(findings, script, self._bar(findings, stamp))

    def _bar(self, findings: Findings, stamp: str) -> Markup:
        """Return progress, who was flagged last, and what can be done."""
        done, total = sum(len(run.rounds) for run in findings.runs), planned(self._folder, findings.runs)
        words, may_stop, may_resume = self._state()
        progress = element(
            "progress", value=done, max=max(total, 1), aria_label=f"{done} of {total} rounds", id="progress"
        )
        return element(
            "div",
            element("strong", words, role="status", id="state"),
            progress if total else None,
            element("span", f"round {done} of {total}" if total else ""),
            _button("stop", "Stop", may_stop),
            _button("resume", "Resume", may_resume),
            element("span", _flagged(findings.runs[-1]) if findings.runs else "", id="flagged"),
            element("span", self._child.last_words, class_="note"),
            class_="live",
            id="live",
            data_stamp=stamp,
        )

    def allows(self, act: str) -> bool:
        """Return whether the folder can be stopped, or resumed, from here: ``act`` is the button's name."""
        _, may_stop, may_resume = self._state()
        return {"stop": may_stop, "resume": may_resume}[act]

    def _state(self) -> tuple[str, bool, bool]:
        """Return (how it is, whether it can be stopped here, whether it can be resumed here)."""
        if self._child.runs:
            words = "Stopping after this round" if self._child.stopping else "Running"
            return words, not self._child.stopping, False
        state = state_of(self._folder)
        called = {
            "complete": "Finished",
            "running": "Stopped" if self._child.ran else "Not run from here",
            "unreadable": "Nothing to go on with",
        }
        return called.get(state, "Stopped"), False, state not in ("complete", "unreadable")


def _button(name: str, words: str, enabled: bool) -> Markup:
    return element("button", words, type="button", id=name, disabled=None if enabled else "")


def _flagged(run: "Run") -> str:
    """Return whom the defense flagged in the last round."""
    clients = run.clients
    last = clients[(clients["round"] == clients["round"].max()) & clients["flag"].notna()]
    ids = sorted(map(int, last["client_id"]))
    if not ids:
        return ""
    more = f" and {len(ids) - 12} more" if len(ids) > 12 else ""
    return f"Flagged in round {int(last['round'].iloc[0])}: {', '.join(map(str, ids[:12]))}{more}"
