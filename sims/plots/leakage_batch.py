"""How many examples of a batch an attack recovers, against the size of the batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .base import EXACT, RunLike
from .leak_marks import caption_of, figures_of, looks_of
from .leaks import CLOSE, Leak, leaks_of
from .style import Style, add_caption, add_legend, dress, new_figure, percent_axis


def leakage_batch(runs: Sequence[RunLike], close: float = CLOSE) -> tuple[Figure, pd.DataFrame]:
    """Draw the share of examples that each attack recovers against the size of the batch.

    A point is all messages of that size: the mean of their shares, from the least to the largest. A star:
    every example that counts as recovered there is exact.

    Args:
        runs: Runs whose messages were attacked.
        close: The PSNR above which an example counts as recovered, in dB.

    Returns:
        The figure, and one row an attack and batch size.

    Raises:
        ScenarioError: Nothing was rebuilt; or a client defense was attacked by nobody who knows of it.
    """
    leaks = leaks_of(runs)
    looks = looks_of(leaks)
    found = dict.fromkeys((one.attack, len(one.psnr)) for one in leaks)
    table = pd.DataFrame(
        _row([one for one in leaks if (one.attack, len(one.psnr)) == key], close)
        for key in sorted(found, key=lambda key: (list(looks).index(key[0]), key[1]))
    )
    figure = new_figure(7.0, 4.8)
    axes = figure.subplots()
    for n, (attack, rows) in enumerate(table.groupby("attack", sort=False)):
        _draw(axes, str(attack), rows, looks[str(attack)], 1.03 ** (n - (len(looks) - 1) / 2))
    dress(axes, "Examples in the batch", f"Examples recovered (PSNR above {close:g} dB)")
    _sizes(axes, sorted(set(table["batch_size"])))
    add_legend(figure, axes)
    counts = sorted(set(table["messages"]))
    messages = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    marks = f"mean over the messages of a size ({messages} of each), bar: least to largest share"
    add_caption(figure, caption_of(leaks, marks, "★: all that is recovered is exact"))
    return figure, table


def _sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """Put the sizes of batches on a logarithmic axis, against shares."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    percent_axis(axes, 0.0, 1.0)
    axes.set_ylim(-0.05, 1.07)  # marks at 0 and 100 % are whole


_PSNR = ("mean", "median", "worst", "best")


def _row(leaks: Sequence[Leak], close: float) -> dict[str, Any]:
    near = np.array([float((one.psnr > close).mean()) for one in leaks])
    recovered = np.concatenate([one.psnr[one.psnr > close] for one in leaks])
    return {
        "attack": leaks[0].attack,
        "batch_size": len(leaks[0].psnr),
        "messages": len(leaks),
        "recovered": float(near.mean()),
        "recovered_least": float(near.min()),
        "recovered_median": float(np.median(near)),
        "recovered_most": float(near.max()),
        "all_exact": bool(len(recovered)) and bool((recovered >= EXACT).all()),
        **{f"psnr_{k}" if k in _PSNR else k: v for k, v in figures_of(leaks).items()},
    }  # fmt: skip


def _draw(axes: Axes, attack: str, rows: pd.DataFrame, look: Style, aside: float) -> None:
    """Draw an attack's line, moved aside by that factor: lines at 100 % would hide one another."""
    axes.plot(
        aside * rows["batch_size"],
        rows["recovered"],
        label=attack,
        markersize=7,
        linewidth=1.6,
        zorder=3,
        **look,
    )
    for row in rows.to_dict("records"):
        ends = [row["recovered_least"], row["recovered_most"]]
        axes.plot(
            [aside * row["batch_size"]] * 2, ends, color=look["color"], alpha=0.45, linewidth=1.4, zorder=1
        )
    exact = rows[rows["all_exact"]]
    star: Style = {"marker": "*", "markersize": 14, "linestyle": "", "color": look["color"], "zorder": 4}
    edge: Style = {"markeredgecolor": "black", "markeredgewidth": 0.6}
    axes.plot(aside * exact["batch_size"], exact["recovered"], **star, **edge)
