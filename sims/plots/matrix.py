"""A matrix of attacks and defenses as heat maps: one panel a share of malicious clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

from ...core.errors import ScenarioError, unknown
from ..matrix_file import with_somebody_to_find
from .base import Array
from .style import LARGE, NORMAL, QUIET, SMALL, add_caption, narrow, new_figure

NO_ATTACK, WORST = "no attack", "worst case"
_LETTERS = 40  # of a name in one line


@dataclass(frozen=True)
class Map:
    """One kind of heat map.

    Attributes:
        column: The column of the matrix's table that gives the colour and the number.
        title: What it is.
        caption: What to know about it.
        high_is_good: Whether a high value is the better one: good is bright.
        small: A second column, in small print under the number.
        ranked: Whether the place by the worst case stands under that.
    """

    column: str
    title: str
    caption: str
    high_is_good: bool = True
    small: str | None = None
    ranked: bool = False


MAPS: Mapping[str, Map] = {
    "accuracy": Map(
        "best_accuracy",
        "Test accuracy, best round (%)",
        "Best round of the mean over seeds; 'final' shows the last one. Worst case: the attack that leaves "
        "the least. #: the defense's place by its worst case.",
        ranked=True,
    ),
    "final": Map(
        "accuracy",
        "Test accuracy after the last round (%)",
        "Mean over seeds. Worst case: the attack that leaves the least.",
    ),
    "drop": Map(
        "drop",
        "Accuracy lost to the attack, best rounds (points)",
        "Best accuracy of the same defense without an attack, minus that under attack.",
        high_is_good=False,
    ),
    "detection": Map(
        "recall",
        "Malicious updates flagged, in small print false alarms (%)",
        "Over all rounds; none where nobody attacks. Small: false alarms, the share of honest updates "
        "that were flagged. Blank: the defense flags nobody.",
        small="false_positive_rate",
    ),
    "success": Map(
        "attack_success_rate",
        "Attack success rate (%)",
        "After the last round, of attacks that want certain labels.",
        high_is_good=False,
    ),
}


def maps_of(table: pd.DataFrame, value: str | None = None) -> list[str]:
    """Return those of ``MAPS`` that a table has numbers for; with ``value`` the one of that column.

    Raises:
        ScenarioError: No map shows that column, or nothing stands in it.
    """
    there = [name for name, what in MAPS.items() if what.column in table and table[what.column].notna().any()]
    if value is None:
        return there
    found = {MAPS[name].column: name for name in there}
    if value not in found:
        raise ScenarioError(unknown("column with a map", value, found))
    return [found[value]]


def heat_maps(table: pd.DataFrame, name: str) -> Figure:
    """Draw one of ``MAPS`` from a matrix's table.

    Raises:
        ScenarioError: No map of that name.
    """
    if name not in MAPS:
        raise ScenarioError(unknown("heat map", name, MAPS))
    what, table = MAPS[name], with_somebody_to_find(table)
    attacks = [a for a in dict.fromkeys(table["attack"]) if a != WORST]
    defenses, shares = list(dict.fromkeys(table["defense"])), list(dict.fromkeys(table["share"]))
    columns = [
        *(a for a in attacks if _kept(table, a, what)),
        *([WORST] if WORST in set(table["attack"]) else []),
    ]
    figure, panels = _panels(defenses, columns, len(shares), bool(what.small))
    limits = _limits(table, what)
    images = []
    for axes, share in zip(panels, shares, strict=True):
        part = table[table["share"] == share].set_index(["defense", "attack"])
        images.append(_panel(axes, part, defenses, columns, what, limits))
        axes.set_title(f"{100 * share:g} % malicious", fontsize=NORMAL, loc="left")
    _bar(figure, panels, images[-1])
    figure.suptitle(what.title, fontsize=LARGE, x=0.01, ha="left")
    add_caption(figure, what.caption)
    return figure


def _panels(defenses: list[str], columns: list[str], shares: int, small: bool) -> tuple[Figure, Array]:
    """Return a figure with a panel a share: side by side, in a narrow picture under each other."""
    wide, high = (min(max(map(len, names)), _letters()) for names in (defenses, columns))
    lines = max(len(name) // _letters() for name in columns)
    side = max(0.62, 0.085 * high**0.5 + 0.35, 0.25 * (lines + 1))
    least = max(0.48, 0.6 if small and narrow() else 0.0)
    rows = sum(max(least, 0.17 * (len(name) // _letters() + 1)) for name in defenses)
    if narrow():
        figure = new_figure(5.0, shares * (rows + 0.3) + 0.07 * high + 1.2)
        return figure, np.atleast_1d(figure.subplots(shares, 1, sharex=True))
    width = shares * (side * len(columns) + 0.3) + 0.075 * wide + 1.6
    figure = new_figure(max(5.0, width), rows + 0.07 * high + 1.5)
    return figure, np.atleast_1d(figure.subplots(1, shares, sharey=True))


def _letters() -> int:
    """Return how many letters of a name stand in one line."""
    return 18 if narrow() else _LETTERS


def _kept(table: pd.DataFrame, attack: str, what: Map) -> bool:
    """Return whether an attack's column says anything on this map."""
    if what.column == "drop" and attack == NO_ATTACK:
        return False
    rows = table[table["attack"] == attack]
    return any(bool(rows[c].notna().any()) for c in (what.column, *filter(None, [what.small])))


def _limits(table: pd.DataFrame, what: Map) -> tuple[float, float]:
    if what.column != "drop":
        return 0.0, 1.0
    return 0.0, max(float(table["drop"].max()), 0.1)


def _panel(
    axes: Axes,
    part: pd.DataFrame,
    defenses: list[str],
    columns: list[str],
    what: Map,
    limits: tuple[float, float],
) -> AxesImage:
    wanted = pd.MultiIndex.from_product([defenses, columns])
    rows = part.reindex(wanted)
    shape = (len(defenses), len(columns))
    values = rows[what.column].to_numpy(float).reshape(shape)
    small = [_under(row, what) for row in rows.to_dict("records")]
    colours = "cividis" if what.high_is_good else "cividis_r"
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for row in range(shape[0]):
        for column in range(shape[1]):
            ink = _ink(values[row, column], image)
            _number(axes, (row, column), values[row, column], small[row * shape[1] + column], ink)
    axes.set_xticks(
        range(len(columns)),
        [fill(c, _letters()) for c in columns],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(len(defenses)), [fill(d, _letters()) for d in defenses])
    axes.tick_params(labelsize=SMALL, length=0)
    axes.spines[:].set_visible(False)
    if columns[-1] == WORST:
        axes.axvline(len(columns) - 1.5, color="white", linewidth=4)
    if columns[0] == NO_ATTACK:
        axes.axvline(0.5, color="white", linewidth=4)
    return image


def _bar(figure: Figure, panels: Array, image: AxesImage) -> None:
    """Draw what the colours of all panels mean, in percent or points."""
    bar = figure.colorbar(image, ax=list(panels), fraction=0.05, pad=0.02)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)


def numbers_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return what one of ``MAPS`` shows: one row a field, in the order of the table."""
    what = MAPS[name]
    shown = [what.column, *filter(None, [what.small])]
    return table[["share", "defense", "attack", *(column for column in shown if column in table)]]


def _ink(value: float, image: AxesImage) -> str:
    """Return black on bright colours and white on dark ones."""
    if np.isnan(value):
        return QUIET
    red, green, blue = image.to_rgba(np.array([value]))[0, :3]
    return "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"


def _under(row: Mapping[str, Any], what: Map) -> str:
    """Return what stands in small print in a cell."""
    small = row.get(what.small, np.nan) if what.small else np.nan
    if not np.isnan(small):
        return f"{100 * small:.1f}"
    rank = row.get("rank", np.nan) if what.ranked else np.nan
    return "" if np.isnan(rank) else f"#{rank:g}"


def _number(axes: Axes, place: tuple[int, int], value: float, under: str, ink: str) -> None:
    """Write a cell's numbers: the large one, and in small print what stands under it."""
    row, column = place
    above = f"{100 * value:.1f}" if not np.isnan(value) else "–"
    up, down = (0.14, 0.26) if above and under else (0.0, 0.0)
    axes.text(column, row - up, above, ha="center", va="center", fontsize=SMALL, color=ink)
    axes.text(column, row + down, under, ha="center", va="center", fontsize=SMALL - 3, color=ink)
