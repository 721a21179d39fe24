"""Leakage and accuracy against epsilon: what a guarantee buys, and what it costs, in one figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from ..coverage import covered, uncovered
from ..measures import called
from .base import RunLike, metric_of, reach
from .frontier import end_of, evaluated
from .leak_marks import (
    MARKERS,
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
from .style import (
    OKABE_ITO,
    SMALL,
    Style,
    add_caption,
    add_legend,
    dress,
    logarithmic,
    new_figure,
    percent_axis,
)
from .utility import budget_of, curves


def leakage_epsilon(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw PSNR of what was rebuilt above, accuracy below, both against the epsilon of the whole run.

    A point is one setting, with all its seeds, at the largest of their epsilons. A line joins the settings of
    the noise of one mechanism (and one attack): of two mechanisms the same epsilon may guard against other
    observers. A half-filled point is one whose epsilon does not cover the attacker at all: it sees what goes
    out before the noise. Runs without a guarantee stand in a column of their own, never at epsilon 0 or
    infinity.

    Returns:
        The figure, and one row an attack and label, with the ``mechanism`` whose line it is on, and whether
        its epsilon covers the attacker (``covered``).

    Raises:
        ScenarioError: Nothing was rebuilt, no such run was evaluated, or none has an epsilon; or a client
            defense was attacked by nobody who knows of it.
    """
    leaks = leaks_of(runs)
    metric = metric_of([one.run for one in leaks])
    leaks = [one for one in leaks if evaluated(leaks, one.label, metric)]
    keys = dict.fromkeys((one.attack, one.label) for one in leaks)
    table = pd.DataFrame(
        _row([one for one in leaks if (one.attack, one.label) == key], metric) for key in keys
    )
    if table.empty or not (table["epsilon"] > 0).any():
        raise ScenarioError(
            "there is no epsilon to draw leakage against: no evaluated run whose messages were attacked has "
            "one above 0; a run with a privacy mechanism whose sampling and defense allow accounting has one"
        )
    table.insert(2, "mechanism", _mechanisms(leaks, table))
    table = table.sort_values(["epsilon"], kind="stable", na_position="last").reset_index(drop=True)
    small_print = _small_print(leaks, table)
    figure = new_figure(7.4, 6.2 + len(small_print) / 600)
    _draw(figure, table, leaks, metric)
    add_legend(figure, figure.axes[0])
    add_caption(figure, small_print)
    return figure, table


def _draw(figure: Figure, table: pd.DataFrame, leaks: Sequence[Leak], metric: str) -> None:
    sure, lost = table[table["epsilon"] > 0], table[table["epsilon"].isna()]
    widths = [5.0, 0.6 + 0.35 * lost["label"].nunique()] if len(lost) else [5.0]
    heights: Style = {"height_ratios": [1.6, 1.0], "width_ratios": widths}
    grid = figure.subplots(2, len(widths), sharey="row", squeeze=False, **heights)
    (above, below), looks = list(grid[:, 0]), looks_of(leaks)
    mechanisms = list(dict.fromkeys(sure["mechanism"]))
    for attack in looks:
        for place, mechanism in enumerate(mechanisms):
            rows = sure[(sure["attack"] == attack) & (sure["mechanism"] == mechanism)]
            several = {"marker": MARKERS[place % 8]} if len(mechanisms) > 1 else {}
            name = f"{attack}, {mechanism}" if several else attack
            _draw_leaks(above, name, rows, {**looks[attack], **several})
    for place, mechanism in enumerate(mechanisms):
        _draw_metric(below, sure[sure["mechanism"] == mechanism], metric, MARKERS[place % 8])
    if len(lost):
        _draw_lost(list(grid[:, 1]), lost, looks, metric)
    draw_baselines(above, leaks)
    dress(above, "", "PSNR of rebuilt examples, dB")
    dress(below, "Privacy spent by the whole run: ε (less is more private)", f"Test {called(metric)}")
    for axes in (above, below):
        logarithmic(axes)
    below.set_xlim(above.get_xlim())
    above.tick_params(labelbottom=False)
    decibels(above, float(table["best"].max()))
    if metric == "accuracy":
        percent_axis(below, table["accuracy_low"].min(), table["accuracy_high"].max())


def _row(leaks: Sequence[Leak], metric: str) -> dict[str, Any]:
    budgets = [budget_of(one.run) for one in leaks]
    reason = next((why for _, why in budgets if why), "")
    return {
        "attack": leaks[0].attack,
        "label": leaks[0].label,
        "epsilon": np.nan if reason else max(value for value, _ in budgets),
        "reason": reason,
        "covered": "" if reason else "yes" if all(covered(one.run, one.item) for one in leaks) else "no",
        **end_of(leaks, leaks[0].label, metric),
        **figures_of(leaks),
    }


def _mechanisms(leaks: Sequence[Leak], table: pd.DataFrame) -> list[str]:
    """Return each row's mechanism, with what else differs from one to another; "" without an epsilon."""
    runs: dict[str, list[RunLike]] = {}
    for one in leaks:
        runs.setdefault(one.label, []).append(one.run)
    sure = set(table[table["epsilon"] > 0]["label"])
    said = {k: v for k, v in runs.items() if k in sure and "privacy" in v[0].manifest["scenario"]}
    names = curves(said)
    return [names.get(label, "") for label in table["label"]]


def _draw_leaks(axes: Axes, attack: str, rows: pd.DataFrame, look: Style) -> None:
    if rows.empty:
        return
    axes.plot(rows["epsilon"], rows["mean"], label=attack, markersize=7, linewidth=1.6, zorder=3, **look)
    bare = rows[rows["covered"] == "no"]
    half: Style = {
        **look,
        "linestyle": "",
        "fillstyle": "left",
        "markerfacecoloralt": "white",
        "markersize": 7,
    }
    axes.plot(bare["epsilon"], bare["mean"], zorder=4, **half)
    for row in rows.to_dict("records"):
        draw_spread(axes, row["epsilon"], row, look)


def _draw_metric(axes: Axes, rows: pd.DataFrame, metric: str, marker: str) -> None:
    points = rows.drop_duplicates("label")
    bars = reach(points[metric], points[f"{metric}_low"], points[f"{metric}_high"])
    look: Style = {"color": OKABE_ITO[6], "marker": marker, "markersize": 5, "capsize": 2}
    axes.errorbar(points["epsilon"], points[metric], yerr=bars, linewidth=1.4, elinewidth=1.0, **look)


def _draw_lost(column: Sequence[Axes], lost: pd.DataFrame, looks: dict[str, Style], metric: str) -> None:
    """Draw the runs that guarantee nothing side by side."""
    labels = list(dict.fromkeys(lost["label"]))
    for row in lost.to_dict("records"):
        place, look = labels.index(row["label"]), looks[row["attack"]]
        column[0].plot([place], [row["mean"]], markersize=7, zorder=3, **{**look, "linestyle": ""})
        draw_spread(column[0], place, row, look)
        ends = [row[f"{metric}_low"], row[f"{metric}_high"]]
        column[1].plot([place] * 2, ends, color=OKABE_ITO[6], linewidth=1.0)
        column[1].plot([place], [row[metric]], marker="o", markersize=5, color=OKABE_ITO[6], linestyle="")
    for axes in column:
        dress(axes, "", "")
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_xticks([])
    column[1].set_xticks(range(len(labels)), [letter(n) for n in range(len(labels))], fontsize=SMALL)
    column[0].set_title("no ε", fontsize=9)


def letter(number: int) -> str:
    """Return ``"a"`` of 0, ``"b"`` of 1, ``"a2"`` of 26."""
    return "abcdefghijklmnopqrstuvwxyz"[number % 26] + (str(number // 26 + 1) if number > 25 else "")


def _small_print(leaks: Sequence[Leak], table: pd.DataFrame) -> str:
    last = [one.run.rounds.iloc[-1] for one in leaks]
    deltas = sorted({f"{float(row['delta']):g}" for row in last if pd.notna(row.get("delta"))})
    units = sorted({str(row["unit"]) for row in last if row.get("unit") and pd.notna(row.get("epsilon"))})
    told = [f"δ: {', '.join(deltas)}" if deltas else "", f"unit: {', '.join(units)}" if units else ""]
    why = table[table["reason"] != ""].drop_duplicates("label")
    reasons = zip(why["label"], why["reason"], strict=True)
    lost = "; ".join(
        f"{letter(n)}:\N{NO-BREAK SPACE}{label} ({reason})" for n, (label, reason) in enumerate(reasons)
    )
    runs = {id(one.run): one.run for one in leaks}
    seen = {key: [one.item for one in leaks if id(one.run) == key] for key in runs}
    lines = (uncovered(run, seen[key]) for key, run in runs.items())
    bare = list(dict.fromkeys(line for line in lines if line))
    told += [f"half-filled: {'; '.join(bare)}"] if bare else []
    return caption_of(leaks, SPREAD, *told, f"no ε at {lost}" if lost else "", dotted(leaks))
