"""Does the model learn, what does it cost in privacy and bytes, and does the attack succeed: lines."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.errors import ScenarioError
from ..measures import called, measured
from ..plots.base import first_labels, groups, metric_of, over_seeds
from .curves import Axes, Line, plot
from .markup import Markup, section
from .reading import column

if TYPE_CHECKING:
    from ..plots.base import RunLike
    from .reading import Findings

_SHARES = ("accuracy", "attack_success_rate", "precision", "recall")


def curves(findings: "Findings") -> Markup:
    """Return plots of what tells how well the runs do."""
    if not findings.runs:
        return Markup("")
    runs, note = first_labels(findings.runs)
    metric = metric_of(runs)
    further = [name for name in measured(runs) if name != metric]
    found = [by_round(runs, name, note) for name in (metric, *further, "loss", "attack_success_rate")]
    return section("utility", "How well the model does", *found, by_bytes(runs, metric, note))


def spending(findings: "Findings") -> Markup:
    """Return the plot of epsilon by round, where some round has one."""
    runs, note = first_labels(findings.runs)
    return by_round(runs, "epsilon", note)


def by_round(runs: "Sequence[RunLike]", name: str, note: str = "") -> Markup:
    """Return the plot of one column of ``rounds``; nothing where it holds nothing."""
    words = called(name)
    axes = Axes(name, f"{words[:1].upper()}{words[1:]} by round", "round", words, name in _SHARES)
    return plot(axes, _lines(runs, "round", name), _banded(runs, note))


def by_bytes(runs: "Sequence[RunLike]", name: str, note: str = "") -> Markup:
    """Return the plot of one column against what all clients have sent; nothing where nothing was sent."""
    words, places = called(name), "MB sent by all clients"
    title = f"{words[:1].upper()}{words[1:]} by bytes sent"
    axes = Axes(f"{name}-bytes", title, places, words, name in _SHARES)
    lines = _lines(runs, "total_bytes_up", name)
    return plot(axes, [replace(line, x=line.x / 1e6, band=None) for line in lines], note)


def _lines(runs: "Sequence[RunLike]", x: str, y: str) -> list[Line]:
    """Return one line a label; of several seeds their mean, where they have rounds in common."""
    found = []
    for label, same in groups(runs).items():
        held = [run for run in same if {x, y} <= set(run.rounds.columns)]
        if len(held) == 1:
            found.append(Line(label, column(held[0].rounds, x), column(held[0].rounds, y)))
        elif held:
            with suppress(ScenarioError):
                found.append(_mean(label, held, x, y))
    return found


def _mean(label: str, runs: "Sequence[RunLike]", x: str, y: str) -> Line:
    """Return the mean over seeds with the range between them.

    Raises:
        ScenarioError: They have no round in common.
    """
    whole = over_seeds(runs, [y] if x == "round" else [x, y], [y])
    low, high = column(whole, f"{y}_low"), column(whole, f"{y}_high")
    return Line(label, column(whole, x), column(whole, y), (low, high))


def _banded(runs: "Sequence[RunLike]", note: str) -> str:
    several = any(len(same) > 1 for same in groups(runs).values())
    return f"Mean over seeds; the band is least to largest. {note}".strip() if several else note
