"""How all pictures look: colours that colour-blind readers can tell apart, and a shape for each as well.

Source: Okabe, Ito. Color Universal Design: How to Make Figures and Presentations That Are Friendly to
Colorblind People. 2008 (the palette; its yellow stands last, being faint on white).
"""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from .base import BANDS
from .look import SIZE

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
HONEST, MALICIOUS, QUIET = OKABE_ITO[0], OKABE_ITO[1], "#555555"
SMALL, NORMAL, LARGE = 9.0, 10.0, 11.0  # font sizes in points
LEAST_HEIGHT, MOST_HEIGHT = 2.2, 9.5  # inches of a picture of an asked width: the second is a page's

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":")

Style = Mapping[str, Any]


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Return a colour, marker and line style a label: 64 labels before a pair comes again."""
    found: dict[str, Style] = {}
    colours = _colours()
    for i, label in enumerate(dict.fromkeys(labels)):
        found[label] = {
            "color": colours[i % len(colours)],
            "marker": _MARKERS[(i + i // 8) % 8],
            "linestyle": _LINES[i % 4],
        }
    return found


def _colours() -> Sequence[str]:
    """Return the palette: ours, or that of a style of the user's that says one."""
    cycle = rcParams["axes.prop_cycle"]
    own = cycle == rcParamsDefault["axes.prop_cycle"] or "color" not in cycle.keys
    return OKABE_ITO if own else cycle.by_key()["color"]


def new_figure(width: float = 6.4, height: float = 4.2) -> Figure:
    """Return an empty figure of that many inches whose parts make room for each other.

    Where another size is asked for (``look.SIZE``) it has that; without a height, it keeps the shape.
    """
    if (asked := SIZE.get()) is not None:
        wide, high = asked
        width, height = wide, high or min(max(height * wide / width, LEAST_HEIGHT), MOST_HEIGHT)
    return Figure(figsize=(width, height), layout="constrained")


def narrow() -> bool:
    """Return whether a picture is asked for that is as narrow as a column: parts stand under each other."""
    asked = SIZE.get()
    return asked is not None and asked[0] < 4.5


def parts_of(whole: Figure | SubFigure, rows: int = 1, widths: Sequence[float] = (1.0,)) -> list[SubFigure]:
    """Split a figure, or a part of it, into ``rows`` rows of columns with these relative widths."""
    parts = whole.subfigures(rows, len(widths), squeeze=False, width_ratios=list(widths), wspace=0.03)
    return list(np.asarray(parts, dtype=object).flat)


def dress(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Name the axes, and leave only the lines that help reading."""
    axes.set_xlabel(x, fontsize=NORMAL)
    axes.set_ylabel(y, fontsize=NORMAL)
    if title:
        axes.set_title(title, fontsize=LARGE, loc="left")
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def percent_axis(axes: Axes, low: float, high: float) -> None:
    """Show shares on the y axis as percent, from ``low`` to ``high`` and a margin, hardly beyond 0 and 1."""
    margin = max(0.05 * (high - low), 0.01)
    axes.set_ylim(max(low - margin, -0.02), min(high + margin, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers at its ticks: over a factor of 2 at least."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if low > 0 and high < 2 * low:
        middle = (low * high) ** 0.5
        low, high = axes.set_xlim(middle / 2, 2 * middle)
    plain_ticks(axes.xaxis)


def plain_ticks(axis: Axis) -> None:
    """Put plain numbers at the ticks of a logarithmic axis, as many as its range wants."""
    low, high = sorted(axis.get_view_interval())
    subs = (1.0,) if high > 300 * low else (1.0, 2.0, 5.0) if high > 10 * low else tuple(range(1, 10))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axes: Axes) -> None:
    """Put the ticks of the x axis on whole numbers, also where there is one alone."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def draw_lines(axes: Axes, table: pd.DataFrame, x: str, y: str, looks: Mapping[str, Style]) -> None:
    """Draw one line a label, with its band where several seeds stand behind it.

    Args:
        axes: Where to.
        table: As ``base.over_seeds`` gives it.
        x: The column of the x axis.
        y: The column of the y axis, with ``y_low`` and ``y_high`` beside it.
        looks: The style of each label.
    """
    for i, (label, line) in enumerate(table.groupby("label", sort=False)):
        step = max(1, len(line) // 10)
        axes.plot(
            line[x],
            line[y],
            label=entry(label, int(line["seeds"].iloc[0])),
            markevery=((i * 2) % step, step),
            markersize=5,
            linewidth=1.6,
            **looks[label],
        )
        if line["seeds"].iloc[0] > 1:
            color = looks[label]["color"]
            axes.fill_between(
                line[x], line[f"{y}_low"], line[f"{y}_high"], color=color, alpha=0.18, linewidth=0
            )


def entry(label: str, seeds: int) -> str:
    """Return a label as the legend has it, with the number of seeds where there are several."""
    return f"{label} (n = {seeds})" if seeds > 1 else label


def add_legend(part: Figure | SubFigure, axes: Axes, band: str = "", below: bool = False) -> None:
    """Put the legend of ``axes`` outside all panels, where it covers no data.

    Args:
        part: The figure, or a part of it.
        axes: Whose lines to name.
        band: One of ``base.BANDS`` where bands are drawn: the legend says what they are.
        below: Whether it stands below the panels instead of above.
    """
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    letters = part.bbox.width / part.dpi * 14  # that fit side by side at this size
    names = [fill(name, max(20, int(letters) - 9)) for name in names]
    longest = max(len(line) for name in names for line in name.split("\n"))
    fit = int(letters / (longest + 9))
    columns = max(1, min(fit, len(names)))
    _make_room(part, sum(name.count("\n") + 1 for name in names) / columns)
    part.legend(
        handles,
        names,
        loc="outside lower left" if below else "outside upper left",
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        handlelength=2.8,
        title=f"mean of n seeds, band: {BANDS[band]}" if band else None,
        title_fontsize=SMALL,
        alignment="left",
    )


def _make_room(part: Figure | SubFigure, lines: float) -> None:
    """Make a picture whose height nobody asked for higher where its legend has many lines."""
    asked = SIZE.get()
    few = 8 if asked is None else 2
    if isinstance(part, Figure) and (asked is None or asked[1] is None) and lines > few:
        part.set_figheight(min(part.get_figheight() + 0.17 * (lines - few), MOST_HEIGHT))


def add_caption(figure: Figure, text: str) -> None:
    """Put small print under the picture, in lines that are no longer than it is wide; none without text.

    A picture of an asked size goes into somebody's text, whose caption says this: it is kept as the figure's
    label, and saved beside the picture.
    """
    if not text:
        return
    if SIZE.get() is not None:
        figure.set_label(text)
        return
    letters = max(20, int(figure.get_figwidth() * 72 / (0.56 * SMALL)))
    wrapped = "\n".join(fill(line, letters) for line in text.split("\n"))
    figure.supxlabel(wrapped, fontsize=SMALL, color=QUIET, x=0.01, ha="left")


def banded(table: pd.DataFrame, band: str) -> str:
    """Return ``band`` if any line of ``table`` stands for several seeds, else nothing."""
    return band if bool((table["seeds"] > 1).any()) else ""
