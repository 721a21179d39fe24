"""A plot on the page: a table of numbers, from which the page's script draws lines that can be zoomed.

Without the script the table is what there is; with it the table stays beneath the plot, as its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .markup import Content, Markup, element, escaped

if TYPE_CHECKING:
    import pandas as pd

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


def plot(axes: Axes, lines: "pd.DataFrame", x: str, y: str, note: str = "") -> Markup:
    """Return a plot of lines as a figure; nothing where no line has a finite number.

    Args:
        axes: What it is of.
        lines: Rows of ``label``, ``x`` and ``y``; ``y_low`` and ``y_high`` where a band is known.
        x: The column of the x axis.
        y: The column of the y axis.
        note: What to say beneath.
    """
    lines = lines[np.isfinite(lines[x].astype(float)) & np.isfinite(lines[y].astype(float))]
    if lines.empty:
        return Markup("")
    parts = [(str(label), _thinned(part)) for label, part in lines.groupby("label", sort=False)]
    thin = any(len(part) < (lines["label"] == label).sum() for label, part in parts)
    note = f"{note} Of long lines some points are left out.".strip() if thin else note
    return element(
        "figure",
        element("figcaption", element("strong", axes.title), element("span", summary_of(axes, parts, y))),
        element("div", class_="canvas"),
        element("p", note, class_="note") if note else None,
        element(
            "details",
            element("summary", "The numbers"),
            element(
                "div",
                _table(axes, parts, x, y),
                class_="scroll",
                tabindex="0",
                role="region",
                aria_label=f"{axes.title}: numbers",
            ),
        ),
        class_="plot",
        id=f"plot-{axes.name}",
        data_x=axes.x,
        data_y=axes.y,
        data_share="1" if axes.share else None,
    )


def _thinned(part: "pd.DataFrame") -> "pd.DataFrame":
    step = -(-len(part) // MOST_POINTS)
    return part.iloc[sorted({*range(0, len(part), step), len(part) - 1})]


def summary_of(axes: Axes, parts: Sequence[tuple[str, "pd.DataFrame"]], y: str) -> str:
    """Return in words what the lines do: where each begins and ends; of many, the range of their ends."""
    ends = {label: (float(part[y].iloc[0]), float(part[y].iloc[-1])) for label, part in parts}
    if len(ends) <= 4:
        words = [f"{label}: from {first:.3g} to {last:.3g}" for label, (first, last) in ends.items()]
        return f"{axes.y[:1].upper()}{axes.y[1:]} against {axes.x}. {'; '.join(words)}."
    lasts = {label: last for label, (_, last) in ends.items()}
    least, most = min(lasts, key=lasts.__getitem__), max(lasts, key=lasts.__getitem__)
    return (
        f"{axes.y[:1].upper()}{axes.y[1:]} against {axes.x}, {len(ends)} lines. "
        f"At the end from {lasts[least]:.3g} ({least}) to {lasts[most]:.3g} ({most})."
    )


def _table(axes: Axes, parts: Sequence[tuple[str, "pd.DataFrame"]], x: str, y: str) -> Markup:
    """Return the numbers as rows of line, x, y, and the band's ends where there is one."""
    band = f"{y}_low" if any(f"{y}_low" in part for _, part in parts) else None
    head = ["line", axes.x, axes.y, *(["low", "high"] if band else [])]
    rows = []
    for label, part in parts:
        columns = [part[x], part[y], *([part[f"{y}_low"], part[f"{y}_high"]] if band else [])]
        shown = escaped(label, 200)
        for values in zip(*(c.astype(float) for c in columns), strict=True):
            cells = "".join(f"<td>{number(value)}</td>" for value in values)
            rows.append(f"<tr><th scope=row>{shown}</th>{cells}</tr>")
    titles: list[Content] = [element("th", name, scope="col") for name in head]
    return element(
        "table",
        element("caption", f"{axes.title}: numbers"),
        element("thead", element("tr", *titles)),
        Markup(f"<tbody>{''.join(rows)}</tbody>"),
        class_="data",
    )


def number(value: float) -> str:
    """Return a number with six digits, as the page's script reads it; nothing for NaN and infinity."""
    return format(value, ".6g") if np.isfinite(value) else ""
