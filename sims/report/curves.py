"""A plot on the page: a table of numbers, from which the page's script draws lines that can be zoomed.

Without the script the table is what there is; with it the table stays beneath the plot, as its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from ..plots.base import Array
from .markup import Content, Markup, captioned, element, escaped

MOST_POINTS = 300  # of one line; of more, every second, third, ... is shown, and the last


@dataclass(frozen=True)
class Axes:
    """What a plot is of.

    Attributes:
        name: The plot's name within the page.
        title: What is seen, in a few words.
        x: The x axis, with its unit.
        y: The y axis, with its unit.
        share: Whether y is a share, between 0 and 1.
    """

    name: str
    title: str
    x: str
    y: str
    share: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        label: Its name.
        x: N places.  # [N]
        y: N heights.  # [N]
        band: The least and the largest height over seeds; None of a single seed.  # [N], [N]
    """

    label: str
    x: Array
    y: Array
    band: tuple[Array, Array] | None = None

    def known(self) -> "Line":
        """Return the points whose numbers are finite."""
        return self.at(np.flatnonzero(np.isfinite(self.x) & np.isfinite(self.y)))

    def thinned(self) -> "Line":
        """Return every second, third, ... point and the last, so that not too many are left."""
        count = len(self.x)
        return self.at(np.array(sorted({*range(0, count, -(-count // MOST_POINTS)), count - 1})))

    def at(self, places: Array) -> "Line":
        """Return the points at these places."""
        band = None if self.band is None else (self.band[0][places], self.band[1][places])
        return Line(self.label, self.x[places], self.y[places], band)


def plot(axes: Axes, lines: Sequence[Line], note: str = "") -> Markup:
    """Return a plot of lines as a figure; nothing where no line has a finite number.

    Args:
        axes: What it is of.
        lines: Its lines, with labels that differ.
        note: What to say beneath.
    """
    whole = [line for line in (one.known() for one in lines) if len(line.x)]
    if not whole:
        return Markup("")
    shown = [line.thinned() for line in whole]
    if sum(len(line.x) for line in shown) < sum(len(line.x) for line in whole):
        note = f"{note} Of long lines some points are left out.".strip()
    numbers = f"{axes.title}: numbers"
    return element(
        "figure",
        element("figcaption", element("strong", axes.title), element("span", summary_of(axes, shown))),
        element("div", class_="canvas"),
        element("p", note, class_="note") if note else None,
        element(
            "details",
            element("summary", "The numbers"),
            element(
                "div", _table(axes, shown), class_="scroll", tabindex="0", role="region", aria_label=numbers
            ),
        ),
        class_="plot",
        id=f"plot-{axes.name}",
        data_x=axes.x,
        data_y=axes.y,
        data_share="1" if axes.share else None,
    )


def summary_of(axes: Axes, lines: Sequence[Line]) -> str:
    """Return in words what the lines do: where each begins and ends; of many, the range of their ends."""
    what = f"{axes.y[:1].upper()}{axes.y[1:]} against {axes.x}"
    if len(lines) <= 4:
        words = [f"{one.label}: from {short(one.y[0])} to {short(one.y[-1])}" for one in lines]
        return f"{what}. {'; '.join(words)}."
    least, most = (pick(lines, key=lambda one: float(one.y[-1])) for pick in (min, max))
    return (
        f"{what}, {len(lines)} lines. "
        f"At the end from {short(least.y[-1])} ({least.label}) to {short(most.y[-1])} ({most.label})."
    )


def _table(axes: Axes, lines: Sequence[Line]) -> Markup:
    """Return the numbers as rows of line, x, y, and the band's ends where there is one."""
    banded = any(line.band for line in lines)
    head = ["line", axes.x, axes.y, *(["low", "high"] if banded else [])]
    rows = []
    for line in lines:
        shown = escaped(line.label, 200)
        blank = np.full(len(line.x), np.nan)
        columns = [line.x, line.y, *((line.band or (blank, blank)) if banded else ())]
        for values in zip(*(column.tolist() for column in columns), strict=True):
            cells = "".join(f"<td>{number(value)}</td>" for value in values)
            rows.append(f"<tr><th scope=row>{shown}</th>{cells}</tr>")
    titles: list[Content] = [element("th", name, scope="col") for name in head]
    return element(
        "table",
        captioned(f"{axes.title}: numbers"),
        element("thead", element("tr", *titles)),
        Markup(f"<tbody>{''.join(rows)}</tbody>"),
        class_="data",
    )


def short(value: float) -> str:
    """Return a number in three digits, whole ones up to a million in full."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def number(value: float) -> str:
    """Return a number with six digits, as the page's script reads it; nothing for NaN and infinity."""
    return format(value, ".6g") if isfinite(value) else ""
