"""Utility against privacy, one curve a mechanism: what accuracy each epsilon buys at the end of a run.

Of a regression the error (RMSE) stands in place of the accuracy.

Runs that prove nothing stand in a column of their own, never at epsilon 0 or infinity. Runs without any
mechanism are a dashed line: what privacy is compared with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from ..measures import called
from ..naming import APART, completed
from .base import BANDS, MOST_LINES, RunLike, check_band, groups, half_width, left_out, metric_of
from .privacy import REFERENCE, caption, draw_lost, guarantee
from .style import (
    QUIET,
    Style,
    add_caption,
    add_legend,
    banded,
    dress,
    logarithmic,
    new_figure,
    percent_axis,
    styles,
)

_AXIS = ("noise_multiplier", "epsilon")  # what a curve runs along


def utility_by_epsilon(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw the accuracy after the last round against what the whole run cost, on a logarithmic axis.

    A point is one setting of the noise: the mean accuracy over seeds at the largest of their epsilons, which
    holds for each of them. A curve joins the settings of one mechanism,
    and its name tells what else is different between curves.

    Returns:
        The figure, and one row a label with ``curve`` and ``kind``: ``"guarantee"``, ``"none"`` (no
        mechanism) or ``"no_guarantee"`` (with ``reason``).

    Raises:
        ScenarioError: No run has an epsilon, or none was evaluated; or seeds of one label hold different
            guarantees.
    """
    check_band(band)
    members = groups(runs)
    metric = metric_of(runs)
    rows = [_point(label, same, band, metric) for label, same in members.items()]
    table = pd.DataFrame([row for row in rows if row is not None])
    if table.empty or not (table["kind"] == "guarantee").any():
        raise ScenarioError(
            f"there is no {called(metric)} to draw against epsilon: no run with a guarantee was evaluated; "
            "a run with a privacy mechanism whose sampling and defense allow accounting has one"
        )
    if not (table["epsilon"] > 0).any():
        raise ScenarioError(
            f"there is no {called(metric)} to draw against epsilon: every epsilon is 0, which has no place "
            "on a logarithmic axis"
        )
    sure = table[table["kind"] == "guarantee"]["label"]
    names = curves({label: members[label] for label in sure})
    table.insert(1, "curve", [names.get(label, label) for label in table["label"]])
    table = table.sort_values(["curve", "epsilon"], kind="stable").reset_index(drop=True)
    drawn = table[table["kind"] != "none"].sort_values("kind", kind="stable")["curve"].unique()
    note = left_out(len(drawn), what="curves")
    table = table[table["curve"].isin(drawn[:MOST_LINES]) | (table["kind"] == "none")].reset_index(drop=True)
    facts = {
        r.curve: guarantee(r.label, members[r.label]) for r in table.itertuples() if r.kind == "guarantee"
    }
    for row in table[table["kind"] == "guarantee"].itertuples():
        facts[row.curve] = {**facts[row.curve], "accountant": _accountants(members, table, row.curve)}
    figure = new_figure(7.2, 4.8)
    _draw(figure, table, metric)
    add_legend(figure, figure.axes[0], banded(table, band))
    add_caption(figure, "\n".join(filter(None, [caption(facts), note])))
    return figure, table


def curves(members: Mapping[str, Sequence[RunLike]]) -> dict[str, str]:
    """Return each label's curve: its mechanism, and those settings that differ from curve to curve.

    Another delta is another curve: an epsilon means nothing without it.
    """
    settings = {label: _settings(same[0].manifest["scenario"], label) for label, same in members.items()}
    keys = dict.fromkeys(key for s in settings.values() for key in s if key != "privacy.name")
    differs = [k for k in keys if len({s.get(k, "") for s in settings.values()}) > 1]
    ends = [key.rpartition(".")[2] for key in differs]
    short = {k: end if ends.count(end) == 1 else k for k, end in zip(differs, ends, strict=True)}
    names = {}
    for label, s in settings.items():
        own = [f"{short[key]}={s[key]}" for key in differs if key in s]
        names[label] = " ".join([s.get("privacy.name", ""), *own]).strip()
    return names


def _settings(scenario: Mapping[str, Any], label: str) -> dict[str, str]:
    """Return everything that decides a run, by dotted path, but the amount of noise and the seed."""
    if "privacy" not in scenario:
        return {"label": label}
    flat: dict[str, str] = {}
    for key, value in completed(scenario).items():
        if key in APART or key == "audit":
            continue
        for option, one in value.items() if isinstance(value, Mapping) else [("", value)]:
            if not (key == "privacy" and option in _AXIS):
                path = f"{key}.{option}".removesuffix(".name" if key != "privacy" else "").rstrip(".")
                flat[path] = _said(one)
    return flat


def _said(value: Any) -> str:
    """Return an option's value; a plug-in inside of another by its name and options."""
    if not isinstance(value, Mapping):
        return str(value)
    return " ".join(str(v) if k == "name" else f"{k}={v}" for k, v in value.items())


def _point(label: str, members: Sequence[RunLike], band: str, metric: str) -> dict[str, Any] | None:
    """Return a label's row, or None where a seed was never evaluated."""
    reached = [run.rounds[metric].astype(float).dropna() for run in members]
    if not all(len(values) for values in reached):
        return None
    ends = np.array([values.iloc[-1] for values in reached])
    budgets = [budget_of(run) for run in members]
    reason = next((why for _, why in budgets if why), "")
    epsilon = np.array([value for value, _ in budgets], dtype=float)
    mean, spread = float(ends.mean()), float(ends.std(ddof=1)) if len(ends) > 1 else 0.0
    spread *= half_width(band, len(ends))
    low, high = (ends.min(), ends.max()) if band == "range" else (mean - spread, mean + spread)
    private = members[0].manifest["scenario"].get("privacy", {"name": ""})["name"] != "none"
    lost = "no_guarantee" if private else "none"
    return {
        "label": label,
        "kind": lost if reason else "guarantee",
        "reason": reason,
        "epsilon": np.nan if reason else float(epsilon.max()),  # what holds for every seed, as in the tables
        "epsilon_low": np.nan if reason else float(epsilon.min()),
        "epsilon_high": np.nan if reason else float(epsilon.max()),
        metric: mean,
        f"{metric}_low": float(low),
        f"{metric}_high": float(high),
        "seeds": len(members),
        "band": BANDS[band],
    }


def budget_of(run: RunLike) -> tuple[float, str]:
    """Return (what the whole run cost, why that is no guarantee): the tightest bound, where there is one."""
    stored = run.manifest.get("epsilon")
    last = run.rounds.iloc[-1]
    value = stored["value"] if stored else last["epsilon"]
    reason = stored["reason"] if stored else last["epsilon_reason"]
    if value is None or not np.isfinite(float(value)):
        return np.nan, str(reason) if isinstance(reason, str) and reason else "unknown"
    return float(value), ""


def _accountants(members: Mapping[str, Sequence[RunLike]], table: pd.DataFrame, curve: str) -> str:
    """Return which accountants gave the epsilons of a curve, with the library's version."""
    labels = table[(table["curve"] == curve) & (table["kind"] == "guarantee")]["label"]
    runs = [run for label in labels for run in members[label]]
    stored = [(run.manifest.get("epsilon") or {}).get("accountant") for run in runs]
    names = sorted({s or str(run.rounds["accountant"].iloc[-1]) for s, run in zip(stored, runs, strict=True)})
    library = runs[0].manifest.get("versions", {}).get("dp-accounting")
    needs = library and {"pld", "rdp"} & set(names)
    return " or ".join(names) + (f" (dp-accounting {library})" if needs else "")


def _draw(figure: Figure, table: pd.DataFrame, metric: str) -> None:
    sure, lost = table[table["kind"] == "guarantee"], table[table["kind"] == "no_guarantee"]
    looks = styles(dict.fromkeys([*sure["curve"], *lost["label"]]))
    if len(lost):
        main, column = figure.subplots(1, 2, sharey=True, width_ratios=[6, 0.8 + 0.3 * len(lost)])
        draw_lost(column, lost, looks, metric)
    else:
        main, column = figure.subplots(), None
    for curve, points in sure.groupby("curve", sort=False):
        _draw_curve(main, str(curve), points, looks[curve], metric)
    for _, row in table[table["kind"] == "none"].iterrows():
        for axes in (main, column) if column is not None else (main,):
            axes.axhline(row[metric], **REFERENCE)
            if row["seeds"] > 1:
                axes.axhspan(
                    row[f"{metric}_low"], row[f"{metric}_high"], color=QUIET, alpha=0.12, linewidth=0
                )
        main.plot([], [], label=f"not private{_seeds(row['seeds'])}", **REFERENCE)
    for _, row in lost.iterrows():
        look = {**looks[row["label"]], "linestyle": ""}
        name = f"{row['label']}{_seeds(row['seeds'])}: no guarantee ({row['reason']})"
        main.plot([], [], label=name, markersize=7, **look)
    dress(main, "Privacy spent by the whole run: ε (less is more private)", f"Test {called(metric)}")
    logarithmic(main)
    if metric == "accuracy":
        percent_axis(main, table["accuracy_low"].min(), table["accuracy_high"].max())


def _draw_curve(axes: Axes, curve: str, points: pd.DataFrame, look: Style, metric: str) -> None:
    name = f"{curve}{_seeds(points['seeds'].min())}"
    axes.plot(points["epsilon"], points[metric], label=name, markersize=6, linewidth=1.6, **look)
    if points["seeds"].max() > 1:
        low, high = points[f"{metric}_low"], points[f"{metric}_high"]
        axes.fill_between(points["epsilon"], low, high, color=look["color"], alpha=0.18, linewidth=0)


def _seeds(count: Any) -> str:
    return f" (n = {int(count)})" if count > 1 else ""
