"""Accuracy against what it took: the bytes that clients really sent, and the simulated seconds of the run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from ..measures import called
from .base import Array, RunLike, first_labels, groups, metric_of, reach
from .leakage import pareto
from .style import (
    QUIET,
    Style,
    add_caption,
    add_legend,
    dress,
    entry,
    logarithmic,
    new_figure,
    percent_axis,
    styles,
)

MOST_MARKS = 24
MEGA = 1e6
_AXES = {"megabytes": "Sent by all clients (MB = 10⁶ bytes)", "seconds": "Simulated seconds of the whole run"}


def compression(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw the accuracy after the last round against the bytes that all clients sent, and against seconds.

    A point is a label, at the means over its seeds, with their ranges. A line leads from the bytes on the
    wire to those of an ideal coder, where the run has a table of frames. Labels on the Pareto front (nobody
    is as good for less) are ringed and joined. The second panel stands where the virtual clock has moved.

    Returns:
        The figure, and one row a label, with ``pareto_megabytes`` and ``pareto_seconds``.

    Raises:
        ScenarioError: No run was evaluated.
    """
    metric = metric_of(runs)
    shown, note = first_labels(runs, MOST_MARKS)
    rows = [_row(label, members, metric) for label, members in groups(shown).items()]
    table = pd.DataFrame([row for row in rows if row is not None])
    if table.empty:
        raise ScenarioError(f"there is no {called(metric)} to draw against bytes: no run was evaluated")
    panels = [x for x in _AXES if x == "megabytes" or bool((table["seconds"] > 0).any())]
    worth = table[metric] if metric == "accuracy" else -table[metric]
    for x in _AXES:
        table[f"pareto_{x}"] = pareto(worth.to_numpy(), table[x].to_numpy()) if x in panels else False
    figure = new_figure(5.2 * len(panels) + 1.4, 5.2 + 0.12 * len(table))
    looks = styles(table["label"])
    for axes, x in zip(np.atleast_1d(figure.subplots(1, len(panels), sharey=True)), panels, strict=True):
        _panel(axes, table, x, metric, looks)
    _legend(figure, figure.axes[0], table, looks)
    told = (
        "hollow, joined by a line: the bytes of an ideal coder for the same messages"
        if table["ideal_megabytes"].notna().any()
        else ""
    )
    add_caption(figure, "\n".join(filter(None, [told, note])))
    return figure, table


def _row(label: str, members: Sequence[RunLike], metric: str) -> dict[str, Any] | None:
    reached = [run.rounds[metric].astype(float).dropna() for run in members]
    if not all(len(values) for values in reached):
        return None
    columns = {
        metric: np.array([values.iloc[-1] for values in reached]),
        "megabytes": np.array([run.rounds["total_bytes_up"].iloc[-1] / MEGA for run in members]),
        "seconds": np.array([_seconds(run) for run in members]),
        "ideal_megabytes": np.array([_ideal(run) / MEGA for run in members]),
    }
    found: dict[str, Any] = {"label": label}
    for name, values in columns.items():
        found |= {name: values.mean(), f"{name}_low": values.min(), f"{name}_high": values.max()}
    return {**found, "seeds": len(members)}


def _seconds(run: RunLike) -> float:
    return float(run.rounds["virtual_seconds"].iloc[-1]) if "virtual_seconds" in run.rounds else 0.0


def _ideal(run: RunLike) -> float:
    """Return what an ideal coder would have sent, and what goes beside frames; NaN where nobody counted."""
    up = None if run.frames is None else run.frames[run.frames["direction"] == "up"]
    if up is None or up.empty or bool(up["ideal_bits"].isna().any()):
        return float("nan")
    beside = int(run.rounds["total_bytes_up"].iloc[-1]) - int(up["frame_bytes"].sum())
    return float(up["ideal_bits"].sum()) / 8 + max(beside, 0)


def _panel(axes: Axes, table: pd.DataFrame, x: str, metric: str, looks: Mapping[str, Style]) -> None:
    front = table[table[f"pareto_{x}"]].sort_values(x)
    axes.plot(front[x], front[metric], color=QUIET, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    for _, row in table.iterrows():
        look = {**looks[row["label"]], "linestyle": ""}
        ends = [reach([row[name]], [row[f"{name}_low"]], [row[f"{name}_high"]]) for name in (x, metric)]
        axes.errorbar([row[x]], [row[metric]], xerr=ends[0], yerr=ends[1], markersize=7, capsize=2,
                      elinewidth=0.9, **look)  # fmt: skip
        if x == "megabytes" and not np.isnan(row["ideal_megabytes"]):
            _joined(axes, row, metric, look)
    axes.scatter(
        front[x], front[metric], s=170, facecolors="none", clip_on=False, edgecolors="black", zorder=3
    )
    dress(axes, _AXES[x], f"Test {called(metric)}" if x == "megabytes" else "")
    if bool((table[x] > 0).all()):
        logarithmic(axes)
    if metric == "accuracy":
        percent_axis(axes, float(table["accuracy_low"].min()), float(table["accuracy_high"].max()))


def _joined(axes: Axes, row: Any, metric: str, look: Style) -> None:
    ends: Array = np.array([row["ideal_megabytes"], row["megabytes"]])
    axes.plot(ends, [row[metric]] * 2, color=look["color"], linewidth=1.0, zorder=1)
    axes.plot(ends[:1], [row[metric]], markersize=6, **{**look, "markerfacecolor": "white"})


def _legend(figure: Figure, axes: Axes, table: pd.DataFrame, looks: Mapping[str, Style]) -> None:
    for row in table.itertuples():
        look = {**looks[row.label], "linestyle": ""}
        axes.plot([], [], label=entry(str(row.label), int(row.seeds)), markersize=7, **look)
    ring: Style = {"marker": "o", "markerfacecolor": "none", "color": "black", "linestyle": ""}
    axes.plot([], [], label="Pareto front", markersize=12, **ring)
    add_legend(figure, axes, "range" if bool((table["seeds"] > 1).any()) else "")
