"""What pictures of leakage share: an attack's look, the spread around a mean, baselines, captions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .base import EXACT
from .leaks import Leak
from .style import OKABE_ITO, QUIET, SMALL, Style

MARKERS = ("o", "s", "D", "v", "P", "X", "h", "p")  # no ▲ and ★, which mean something
_BASELINES = {"constant": "a flat picture", "noise": "noise", "permuted": "another example of the batch"}


def looks_of(leaks: Sequence[Leak]) -> dict[str, Style]:
    """Return each attack's look: a colour and marker an attack, however much it knows of defenses.

    Solid where it knows of what clients do, or where nobody does anything; dashed where it does not. Hollow
    where it was told what no attacker in its place could know.
    """
    names = list(dict.fromkeys(one.plain for one in leaks))
    found: dict[str, Style] = {}
    for attack in dict.fromkeys(one.attack for one in leaks):
        own = [one for one in leaks if one.attack == attack]
        place = names.index(own[0].plain)
        color, surprised = OKABE_ITO[place % 7], {one.adapted for one in own}
        found[attack] = {
            "color": color,
            "marker": MARKERS[place % 8],
            "linestyle": "--" if False in surprised and True not in surprised else "-",
            "markerfacecolor": "white" if any(one.item.oracle for one in own) else color,
        }
    return found


def figures_of(leaks: Sequence[Leak]) -> dict[str, Any]:
    """Return what a point stands for: PSNR over all its examples, and how many of them are exact.

    ``best`` is the example that was rebuilt best, the worst case for its owner; ``worst`` the one that was
    rebuilt worst.
    """
    values = np.concatenate([one.psnr for one in leaks])
    values = values[~np.isnan(values)]
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "worst": float(values.min()),
        "best": float(values.max()),
        "examples": len(values),
        "exact": int((values >= EXACT).sum()),
        **knowledge_of(leaks),
    }


def knowledge_of(leaks: Sequence[Leak]) -> dict[str, Any]:
    """Return what the attacker of a point knew: its letters, oracles, and whether of what clients do."""
    adapted = {one.adapted for one in leaks}
    return {
        "sok": ", ".join(sorted({one.item.sok for one in leaks if one.item.sok})),
        "oracle": ", ".join(sorted({name for one in leaks for name in one.item.oracle})),
        "adapted": "" if adapted == {None} else "yes" if True in adapted else "no",
    }


def draw_spread(axes: Axes, x: float, row: Mapping[str, Any], look: Style) -> None:
    """Draw what lies around a mean: a bar from the worst to the best example, a tick at the median."""
    color = look["color"]
    axes.plot([x, x], [row["worst"], row["best"]], color=color, alpha=0.45, linewidth=1.2, zorder=1)
    axes.plot([x], [row["best"]], marker="^", markersize=4.5, color=color, linestyle="", zorder=2)
    axes.plot([x], [row["median"]], marker="_", markersize=11, color=color, linestyle="", zorder=2)


def draw_baselines(axes: Axes, leaks: Sequence[Leak]) -> None:
    """Draw what no attack at all would score as dotted lines, which ``caption_of`` names."""
    for level in baselines_of(leaks).values():
        axes.axhline(level, color=QUIET, linestyle=":", linewidth=1.1, zorder=0)


def baselines_of(leaks: Sequence[Leak]) -> dict[str, float]:
    """Return what no attack at all would score, in dB: the mean over these messages, by name."""
    levels: dict[str, list[float]] = {}
    for one in leaks:
        for name, scores in one.item.baselines.items():
            if (value := scores.get("psnr")) is not None:
                levels.setdefault(name, []).append(min(float(value), EXACT))
    return {name: float(np.mean(values)) for name, values in levels.items()}


def decibels(axes: Axes, most: float) -> None:
    """End the y axis above what is drawn; where exact examples are, at a line that says so."""
    low, high = axes.get_ylim()
    if most < EXACT:
        axes.set_ylim(min(low, 0.0), high)
        return
    axes.axhline(EXACT, color="black", linewidth=0.9, zorder=0)
    axes.annotate("exact", (0.0, EXACT), xycoords=("axes fraction", "data"), xytext=(3, 3),
                  textcoords="offset points", fontsize=SMALL, color="black")  # fmt: skip
    axes.set_ylim(min(low, 0.0), EXACT + 9)


SPREAD = "mean over examples; tick: median; bar: worst to best, ▲ the best rebuilt one"
"""What ``draw_spread`` draws, for a caption."""


def dotted(leaks: Sequence[Leak]) -> str:
    """Return what ``draw_baselines`` draws, for a caption; nothing where no baseline is known."""
    levels = sorted(baselines_of(leaks).items(), key=lambda one: one[1])
    told = ", ".join(f"{_BASELINES.get(name, name)} {level:.1f} dB" for name, level in levels)
    return f"dotted, without any attack: {told}" if told else ""


def caption_of(leaks: Sequence[Leak], *more: str) -> str:
    """Return the small print of a picture of leaks: what marks mean, and what attackers were told."""
    adapted = {one.adapted for one in leaks}
    letters = ", ".join(sorted({one.item.sok for one in leaks if one.item.sok}))
    oracles = ", ".join(sorted({name for one in leaks for name in one.item.oracle}))
    parts = [
        *more,
        "solid: knows of the clients' defense or codec; dashed: does not" if False in adapted else "",
        f"hollow: told what no attacker could know ({oracles})" if oracles else "",
        f"told: SoK level {letters}" if letters else "what attackers were told was not kept",
        f"exact: {EXACT:g} dB or more, MSE of 1e-12 at most" if _any_exact(leaks) else "",
    ]
    return " · ".join(part for part in parts if part)


def _any_exact(leaks: Sequence[Leak]) -> bool:
    return any(bool((one.psnr >= EXACT).any()) for one in leaks)
