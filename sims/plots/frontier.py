"""Leakage against accuracy over a sweep of noise, bits or dropout: a line an attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ...core.errors import ScenarioError
from ..measures import called
from .base import RunLike, left_out, metric_of
from .fit import part_notes
from .leak_marks import (
    SPREAD,
    caption_of,
    decibels,
    dotted,
    draw_baselines,
    draw_spread,
    figures_of,
    looks_of,
)
from .leaks import Leak, leaks_of
from .style import QUIET, SMALL, Style, add_caption, add_legend, dress, new_figure

MOST_POINTS = 20


def leakage_frontier(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw what each attack rebuilt against how good the model became, over the settings of a sweep.

    A point is one setting: the mean PSNR over all examples of all its messages and seeds, with the median,
    the worst and the best rebuilt example, at the mean accuracy of its seeds after the last round (of a
    regression its RMSE). A line joins the settings of one attack in their order.

    Returns:
        The figure, and one row an attack and label.

    Raises:
        ScenarioError: Nothing was rebuilt, or no such run was evaluated; or a client defense was attacked by
            nobody who knows of it.
    """
    leaks = leaks_of(runs)
    metric = metric_of([one.run for one in leaks])
    labels = [label for label in dict.fromkeys(one.label for one in leaks) if evaluated(leaks, label, metric)]
    if not labels:
        raise ScenarioError(f"there is no {called(metric)} to draw leakage against: no run was evaluated")
    shown = labels[:MOST_POINTS]
    leaks = [one for one in leaks if one.label in shown]
    numbers = {label: n + 1 for n, label in enumerate(shown)}
    keys = sorted(dict.fromkeys((one.label, one.attack) for one in leaks), key=lambda key: numbers[key[0]])
    table = pd.DataFrame(_row(leaks, *key, metric, numbers) for key in keys)
    small_print = "\n".join(filter(None, _small_print(leaks, numbers, len(labels))))
    figure = new_figure(7.6, 4.6 + len(small_print) / 600)
    axes = figure.subplots()
    _panel(axes, table, leaks, metric)
    add_legend(figure, axes)
    add_caption(figure, small_print)
    figure.draw_without_rendering()  # where points lie near each other follows from the layout
    part_notes(figure)
    return figure, table


def _row(
    leaks: Sequence[Leak], label: str, attack: str, metric: str, numbers: Mapping[str, int]
) -> dict[str, Any]:
    own = [one for one in leaks if (one.label, one.attack) == (label, attack)]
    head = {"attack": attack, "point": numbers[label], "label": label}
    return {**head, **end_of(leaks, label, metric), **figures_of(own)}


def _panel(axes: Axes, table: pd.DataFrame, leaks: Sequence[Leak], metric: str) -> None:
    looks = looks_of(leaks)
    for attack in looks:
        _draw(axes, attack, table[table["attack"] == attack], looks[attack], metric)
    _number(axes, table, metric)
    draw_baselines(axes, leaks)
    dress(axes, f"Test {called(metric)} of the trained model", "PSNR of rebuilt examples, dB")
    if metric == "accuracy":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.margins(x=0.08)
    decibels(axes, float(table["best"].max()))


def evaluated(leaks: Sequence[Leak], label: str, metric: str) -> bool:
    """Return whether every run of a label knows how good its model is at the end."""
    tables = [run.rounds for run in _runs(leaks, label)]
    return all(metric in rounds and bool(rounds[metric].notna().any()) for rounds in tables)


def _runs(leaks: Sequence[Leak], label: str) -> list[RunLike]:
    return list({one.seed: one.run for one in leaks if one.label == label}.values())


def end_of(leaks: Sequence[Leak], label: str, metric: str) -> dict[str, float | int]:
    """Return how good the models of one label are at the end, over its seeds."""
    ends = np.array([run.rounds[metric].astype(float).dropna().iloc[-1] for run in _runs(leaks, label)])
    return {
        metric: float(ends.mean()),
        f"{metric}_low": float(ends.min()),
        f"{metric}_high": float(ends.max()),
        "seeds": len(ends),
    }


def _draw(axes: Axes, attack: str, rows: pd.DataFrame, look: Style, metric: str) -> None:
    axes.plot(rows[metric], rows["mean"], label=attack, markersize=7, linewidth=1.6, zorder=3, **look)
    for row in rows.to_dict("records"):
        draw_spread(axes, row[metric], row, look)
        if row["seeds"] > 1:
            ends = [row[f"{metric}_low"], row[f"{metric}_high"]]
            axes.plot(ends, [row["mean"]] * 2, color=look["color"], alpha=0.45, linewidth=1.2, zorder=1)


def _number(axes: Axes, table: pd.DataFrame, metric: str) -> None:
    """Write the number of each setting beside its highest point."""
    highest = table.sort_values("mean").drop_duplicates("label", keep="last")
    for row in highest.to_dict("records"):
        place: Style = {"xytext": (6, 5), "textcoords": "offset points"}
        axes.annotate(str(row["point"]), (row[metric], row["mean"]), fontsize=SMALL, color=QUIET, **place)


def _small_print(leaks: Sequence[Leak], numbers: Mapping[str, int], found: int) -> list[str]:
    points = "; ".join(f"{n}:\N{NO-BREAK SPACE}{label}" for label, n in numbers.items())
    return [points, caption_of(leaks, SPREAD, dotted(leaks)), left_out(found, MOST_POINTS)]
