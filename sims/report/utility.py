"""Does the model learn, what does it cost in privacy and bytes, and does the attack succeed: lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.errors import ScenarioError
from ..measures import called, measured
from ..plots.base import first_labels, metric_of, over_seeds
from .curves import Axes, plot
from .markup import Markup, section

if TYPE_CHECKING:
    import pandas as pd

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
    shown = [run for run in runs if name in run.rounds and run.rounds[name].notna().any()]
    if not shown:
        return Markup("")
    try:
        lines = over_seeds(shown, [name], [name])
    except ScenarioError:  # seeds that have no round in common yet
        return Markup("")
    if (lines["seeds"] == 1).all():
        lines = lines.drop(columns=[f"{name}_low", f"{name}_high"])
    words = called(name)
    axes = Axes(name, f"{words[:1].upper()}{words[1:]} by round", "round", words, name in _SHARES)
    return plot(axes, lines, "round", name, _band(lines, note))


def by_bytes(runs: "Sequence[RunLike]", name: str, note: str = "") -> Markup:
    """Return the plot of one column against what all clients have sent; nothing where nothing was sent."""
    shown = [r for r in runs if {name, "total_bytes_up"} <= set(r.rounds) and r.rounds[name].notna().any()]
    if not shown:
        return Markup("")
    try:
        lines = over_seeds(shown, [name, "total_bytes_up"], [name])
    except ScenarioError:
        return Markup("")
    lines = lines.assign(megabytes=lines["total_bytes_up"] / 1e6)
    lines = lines.drop(columns=[f"{name}_low", f"{name}_high"])
    words = called(name)
    title = f"{words[:1].upper()}{words[1:]} by bytes sent"
    axes = Axes(f"{name}-bytes", title, "MB sent by all clients", words, name in _SHARES)
    return plot(axes, lines, "megabytes", name, note)


def _band(lines: "pd.DataFrame", note: str) -> str:
    several = bool((lines["seeds"] > 1).any())
    return f"Mean over seeds; the band is least to largest. {note}".strip() if several else note
