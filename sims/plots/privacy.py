"""Utility against privacy: what accuracy an epsilon buys.

Runs that prove nothing stand in a column of their own, never at epsilon 0 or infinity. Runs without any
mechanism are a dashed line: what privacy is compared with.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import MOST_LINES, RunLike, groups, left_out, over_seeds, reach
from .style import (
    QUIET,
    Style,
    add_caption,
    add_legend,
    banded,
    draw_lines,
    dress,
    entry,
    logarithmic,
    new_figure,
    percent_axis,
    styles,
)

NO_MECHANISM = "no_mechanism"

_LETTERS = 105  # of the small print that fit under a picture of this width
_FACTS = ("unit", "relation", "sampling", "delta", "accountant", "trust_model")
REFERENCE: Mapping[str, Any] = {"color": QUIET, "linestyle": (0, (6, 3)), "linewidth": 1.4}


def accuracy_by_epsilon(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw test accuracy against the cumulative epsilon, on a logarithmic axis.

    A line follows one label through its rounds; the large marker is where it ends, at what the whole run
    cost. Of several seeds the epsilon is the largest, which holds for each of them.

    Returns:
        The figure, and rows with ``kind``: ``"guarantee"`` (every evaluated round with an epsilon), and
        the last evaluated round only of ``"none"`` (no mechanism) and ``"no_guarantee"`` (with ``reason``).

    Raises:
        ScenarioError: No run has an epsilon; or seeds of one label hold different guarantees.
    """
    members = groups(runs)
    facts = {name: guarantee(name, same) for name, same in members.items()}
    reasons = {name: _reason(same) for name, same in members.items()}
    if all(reasons.values()):
        listed = "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())
        raise ScenarioError(
            f"there is no epsilon to draw: no run has a guarantee at its end ({listed}); "
            "a run with a privacy mechanism whose sampling and defense allow accounting has one"
        )
    sure = sorted(members, key=lambda name: bool(reasons[name]))[:MOST_LINES]  # stable: guarantees first
    facts = {name: facts[name] for name in members if name in sure}
    table = _table([run for name in facts for run in members[name]], reasons, band)
    figure = new_figure(7.2, 4.8)
    _draw(figure, table)
    add_legend(figure, figure.axes[0], banded(table, band))
    small = [caption({n: f for n, f in facts.items() if not reasons[n]}), left_out(len(members))]
    add_caption(figure, "\n".join(filter(None, small)))
    return figure, table


def guarantee(name: str, members: Sequence[RunLike]) -> Mapping[str, str]:
    """Return what an epsilon must be read with, equal for all seeds that recorded it.

    Only the accountants may differ: each seed's is the one with the smallest of several valid bounds.
    """
    known: dict[str, str] = {}
    for facts in map(_facts_of, members):
        for key, value in facts.items():
            if key == "accountant":
                known[key] = " or ".join(sorted({*known.get(key, value).split(" or "), value}))
            elif known.setdefault(key, value) != value:
                raise ScenarioError(
                    f"seeds of '{name}' cannot become one line: their {key} differs ({known[key]}, {value}); "
                    "an epsilon is averaged only over equal guarantees"
                )
    return known


def _facts_of(run: RunLike) -> dict[str, str]:
    """Return the last recorded value of each fact."""
    recorded = {key: run.rounds[key].dropna() for key in _FACTS if key in run.rounds}
    known = {key: values.iloc[-1] for key, values in recorded.items() if len(values)}
    facts = {key: f"{value:.3g}" if key == "delta" else str(value) for key, value in known.items()}
    terms = run.manifest.get("guarantee", {})
    if "relation" in facts and terms.get("public"):
        facts["relation"] += f" ({', '.join(terms['public'])} public)"
    if "delta" in facts and terms.get("warning"):
        facts["delta"] += " (too large: not below 1 / the number of units)"
    library = run.manifest.get("versions", {}).get("dp-accounting")
    if library and facts.get("accountant") in ("pld", "rdp"):
        facts["accountant"] += f" (dp-accounting {library})"
    return facts


def _reason(members: Sequence[RunLike]) -> str:
    """Return why the label proves nothing at its end, or nothing if all of its seeds do."""
    for run in members:
        if run.rounds.empty:
            return "no round finished"
        last = run.rounds.sort_values("round").iloc[-1]
        if last["epsilon"] is None or not np.isfinite(float(last["epsilon"])):
            reason = last["epsilon_reason"]
            return str(reason) if isinstance(reason, str) and reason else "unknown"
    return ""


def _table(runs: Sequence[RunLike], reasons: Mapping[str, str], band: str) -> pd.DataFrame:
    table = over_seeds(runs, ["epsilon", "accuracy"], needed=["accuracy"], band=band)
    worst = over_seeds(runs, ["epsilon"], band="range")[["label", "round", "epsilon_high"]]
    table["epsilon"] = table.merge(worst, on=["label", "round"], how="left", suffixes=("", "_worst"))[
        "epsilon_high_worst"
    ].to_numpy()  # as in the tables: what holds for every seed
    table["reason"] = table["label"].map(reasons)
    table["kind"] = np.select(
        [table["reason"] == "", table["reason"] == NO_MECHANISM], ["guarantee", "none"], "no_guarantee"
    )
    last = table.groupby("label")["round"].transform("max") == table["round"]
    keep = last | ((table["kind"] == "guarantee") & (table["epsilon"] > 0))
    table = table.assign(last=last)[keep].reset_index(drop=True)
    if not (table["kind"] == "guarantee").any():
        raise ScenarioError("there is no accuracy to draw against epsilon: no private run was evaluated")
    if not (table["epsilon"] > 0).any():
        raise ScenarioError(
            "there is no accuracy to draw against epsilon: every epsilon is 0, which has no place on a "
            "logarithmic axis"
        )
    return table


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    looks = styles(table["label"])
    lost = table[table["kind"] == "no_guarantee"]
    if len(lost):
        main, column = figure.subplots(1, 2, sharey=True, width_ratios=[6, 0.8 + 0.3 * len(lost)])
        draw_lost(column, lost, looks)
    else:
        main, column = figure.subplots(), None
    _draw_guarantees(main, table[table["kind"] == "guarantee"], looks)
    for _, row in table[table["kind"] == "none"].iterrows():
        _draw_reference(main, row)
        if column is not None:
            _draw_reference(column, row)
    percent_axis(main, table["accuracy_low"].min(), table["accuracy_high"].max())
    _name(main, table[table["last"]], looks)


def _draw_guarantees(axes: Axes, table: pd.DataFrame, looks: Mapping[str, Style]) -> None:
    draw_lines(axes, table, "epsilon", "accuracy", looks)
    for line in axes.lines:
        line.set_marker("")
        line.set_label("")
    for _, row in table[table["last"]].iterrows():
        _draw_end(axes, row, float(row["epsilon"]), looks[row["label"]])
    dress(axes, "Privacy spent so far: ε (less is more private)", "Test accuracy")
    logarithmic(axes)


def _draw_end(axes: Axes, row: Any, x: float, look: Style, metric: str = "accuracy") -> None:
    """Draw where a label ends, with its band as an error bar."""
    y, low, high = (float(row[name]) for name in (metric, f"{metric}_low", f"{metric}_high"))
    spread = reach([y], [low], [high]) if row["seeds"] > 1 else None
    axes.errorbar([x], [y], yerr=spread, markersize=8, capsize=3, **{**look, "linestyle": ""})


def _draw_reference(axes: Axes, row: Any) -> None:
    axes.axhline(row["accuracy"], **REFERENCE)
    if row["seeds"] > 1:
        axes.axhspan(row["accuracy_low"], row["accuracy_high"], color=QUIET, alpha=0.12, linewidth=0)


def draw_lost(axes: Axes, lost: pd.DataFrame, looks: Mapping[str, Style], metric: str = "accuracy") -> None:
    """Draw the labels without a guarantee in a column of their own."""
    for place, (_, row) in enumerate(lost.iterrows()):
        _draw_end(axes, row, float(place), looks[row["label"]], metric)
    dress(axes, "no\nguarantee", "")
    axes.set_xlim(-0.6, len(lost) - 0.4)
    axes.set_xticks([])
    axes.tick_params(left=False, labelleft=False)
    axes.set_facecolor("#F3F3F3")


def _name(axes: Axes, ends: pd.DataFrame, looks: Mapping[str, Style]) -> None:
    """Give the legend one entry a label, in the labels' order."""
    for _, row in ends.iterrows():
        name = entry(row["label"], int(row["seeds"]))
        if row["kind"] == "guarantee":
            axes.plot([], [], label=name, markersize=7, **looks[row["label"]])
        elif row["kind"] == "none":
            axes.plot([], [], label=f"{name}: not private", **REFERENCE)
        else:
            look = {**looks[row["label"]], "linestyle": ""}
            axes.plot([], [], label=f"{name}: no guarantee ({row['reason']})", markersize=7, **look)


def caption(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Return what the epsilons must be read with; where labels differ, each value names its labels."""
    parts = []
    for key in _FACTS:
        holders: dict[str, list[str]] = {}
        for label, known in facts.items():
            holders.setdefault(known.get(key, "not recorded"), []).append(label)
        word = "δ" if key == "delta" else key.replace("_", " ")
        if len(holders) == 1:
            parts.append(f"{word}: {next(iter(holders))}")
        else:
            parts.append(f"{word}: " + ", ".join(f"{v} ({', '.join(ls)})" for v, ls in holders.items()))
    half = (len(parts) + 1) // 2
    lines = ["Guarantee: " + " · ".join(parts[:half]), " · ".join(parts[half:])]
    return "\n".join(fill(line, _LETTERS, break_long_words=False) for line in lines)
