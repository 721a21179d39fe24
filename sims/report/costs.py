"""What a run cost: bytes on the wire, seconds of the clock, seconds of the simulated network."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ResultsError
from ..naming import run_names
from .markup import Markup, section, table
from .reading import column

if TYPE_CHECKING:
    from ..results import Run
    from .reading import Findings

_HEAD = (
    "run", "seed", "rounds", "MB up", "MB down", "kB up a client and round", "kB payload a frame",
    "error of encoding", "seconds", "seconds a round", "simulated seconds",
)  # fmt: skip


def costs(findings: "Findings") -> Markup:
    """Return one row a run; columns that say nothing about these runs are left out."""
    if not findings.runs:
        return Markup("")
    rows = [_row(name, run) for name, run in zip(run_names(findings.runs), findings.runs, strict=True)]
    kept = [i for i in range(len(_HEAD)) if any(row[i] != "—" for row in rows)]
    caption = "1 MB = 10⁶ bytes. Seconds are those of the machine; nothing else on this page depends on them."
    body = [[row[i] for i in kept] for row in rows]
    return section("costs", "Bytes and time", table([_HEAD[i] for i in kept], body, caption))


def _row(name: str, run: "Run") -> list[Any]:
    rounds = run.rounds
    up, down = (float(np.nansum(column(rounds, key))) for key in ("bytes_up", "bytes_down"))
    messages = float(np.nansum(column(rounds, "cohort_size")))
    seconds, clock = _seconds(run), column(rounds, "virtual_seconds")
    virtual = float(clock[-1]) if np.isfinite(clock[-1]) else 0.0
    return [
        name,
        int(run.manifest["seed"]),
        len(rounds),
        f"{up / 1e6:.3g}",
        f"{down / 1e6:.3g}",
        f"{up / messages / 1e3:.3g}" if messages else "—",
        *_frames(run),
        f"{seconds.sum():.3g}" if len(seconds) else "—",
        f"{np.median(seconds):.3g}" if len(seconds) else "—",
        f"{virtual:.3g}" if virtual else "—",
    ]


def _seconds(run: "Run") -> np.ndarray[Any, Any]:
    """Return the seconds of each round; none where their table is not there."""
    try:
        seconds = column(run.timings, "seconds")
    except (ResultsError, ValueError):
        return np.empty(0)
    return np.asarray(seconds[np.isfinite(seconds)])


def _frames(run: "Run") -> tuple[str, str]:
    """Return of clients' frames the mean payload in kB, and the mean squared error over the square."""
    frames = run.frames
    if frames is None or "direction" not in frames:
        return "—", "—"
    up = frames[frames["direction"] == "up"]
    payload, error = column(up, "payload_bytes"), column(up, "nmse")
    words = f"{np.nanmean(payload) / 1e3:.3g}" if np.isfinite(payload).any() else "—"
    return words, f"{np.nanmean(error):.2g}" if np.isfinite(error).any() else "—"
