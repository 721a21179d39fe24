"""What leaks against what is learned: rebuilt examples, canaries, and the accountant held to its word."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ...core.errors import ScenarioError
from .base import EXACT, Array, RunLike, groups, reach
from .gallery import results_of
from .leak_marks import SPREAD, draw_spread
from .leaks import defense_of, refuse_alone
from .style import (
    MALICIOUS,
    OKABE_ITO,
    QUIET,
    SMALL,
    Style,
    add_caption,
    add_legend,
    dress,
    entry,
    logarithmic,
    new_figure,
    styles,
)

_EDGE = {"markeredgecolor": "#333333", "markeredgewidth": 0.7}  # so that yellow stands out from white
_MEASURES = {
    "psnr": "PSNR of rebuilt examples, dB (less is better)",
    "epsilon_audit_est": "Canary estimate of ε (less is better)",
    "epsilon_audit_low": "Canary lower bound on ε (less is better)",
}


def leakage_by_accuracy(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw what an attacker got against the accuracy of the model, one panel a measure of leakage.

    A point is a label, with the range over its seeds; those on the Pareto front (nobody is as accurate and
    leaks less) are ringed, and joined where their client defense is the same. A point behind a client defense
    of which no attack of this package knows is hollow, and on no front: it is the least that leaks. PSNR
    is the mean over all rebuilt examples of a run, an exact one counting 120 dB, with the median, the worst
    and the best one.

    Returns:
        The figure, and one row a label and ``measure``, with ``pareto``.

    Raises:
        ScenarioError: No evaluated run holds a reconstruction or an audit; or one's client defense is not
            shown beside an attack that knows of it.
    """
    for run in runs:
        refuse_alone(run)
    table = pd.DataFrame([row for label, same in groups(runs).items() for row in _rows(label, same)])
    if table.empty:
        raise ScenarioError(
            "there is no leakage to draw: no evaluated run holds a reconstruction or an audit; "
            "a run with [[probes]] or [audit] has one"
        )
    found = [m for m in _MEASURES if (table["measure"] == m).any()]
    if "epsilon_audit_est" in found and "epsilon_audit_low" in found:
        estimated = set(table[table["measure"] == "epsilon_audit_est"]["label"])
        bounded = set(table[table["measure"] == "epsilon_audit_low"]["label"])
        found = [m for m in found if m != "epsilon_audit_low" or bounded - estimated]
    table["pareto"] = False
    for measure in _MEASURES:
        of_it = table["measure"] == measure
        table.loc[of_it, "pareto"] = pareto(table[of_it]["accuracy"], table[of_it]["leakage"])
    figure = new_figure(4.6 * len(found) + 1.2, 4.8)
    looks = styles(table["label"])
    panels = np.atleast_1d(figure.subplots(1, len(found)))
    for axes, measure in zip(panels, found, strict=True):
        _panel(axes, table[table["measure"] == measure], looks, _MEASURES[measure])
    _legend(figure, panels[-1], table, looks)
    add_caption(figure, _leakage_caption(runs, found))
    return figure, table


def _leakage_caption(runs: Sequence[RunLike], found: Sequence[str]) -> str:
    several = len({run.manifest["seed"] for run in runs}) > 1
    parts = ["means and ranges over seeds"] if several else []
    if "psnr" in found:
        letters = ", ".join(sorted({item.sok for run in runs for item in results_of(run) if item.sok}))
        told = f", SoK level {letters}" if letters else ""
        parts.append(f"PSNR: from one client's message as the server sees it, exact = {EXACT:g} dB{told}")
        parts.append(SPREAD)
    deltas = sorted({f"{run.audit['delta']:g}" for run in runs if run.audit})
    if deltas:
        parts.append(f"canaries: from the released models, δ: {', '.join(deltas)}")
    return " · ".join(parts)


def pareto(accuracy: Array, leakage: Array) -> Array:
    """Return whether each point is undominated: no other is as good in both and better in one.

    Args:
        accuracy: More is better.  # [n]
        leakage: Less is better.  # [n]
    """
    a, b = np.asarray(accuracy, float), np.asarray(leakage, float)
    as_good = (a[None] >= a[:, None]) & (b[None] <= b[:, None])
    better = (a[None] > a[:, None]) | (b[None] < b[:, None])
    return np.asarray(~(as_good & better).any(axis=1))


def _rows(label: str, members: Sequence[RunLike]) -> list[dict[str, Any]]:
    reached = [run.rounds["accuracy"].astype(float).dropna() for run in members]
    if not all(len(values) for values in reached):
        return []
    ends = np.array([values.iloc[-1] for values in reached])
    rows = []
    for measure in _MEASURES:
        values = np.array([_measured(run, measure) for run in members])
        if np.isnan(values).any():
            continue
        rebuilt = _rebuilt(members) if measure == "psnr" else values
        rows.append(
            {
                "label": label,
                "measure": measure,
                "accuracy": ends.mean(),
                "accuracy_low": ends.min(),
                "accuracy_high": ends.max(),
                "leakage": values.mean(),
                "leakage_low": values.min(),
                "leakage_high": values.max(),
                "leakage_median": np.nanmedian(rebuilt),
                "leakage_worst": np.nanmin(rebuilt),
                "leakage_best": np.nanmax(rebuilt),
                "seeds": len(members),
                "client_defense": defense_of(members[0]),
            }
        )
    return rows


def _measured(run: RunLike, measure: str) -> float:
    """Return one run's leakage, NaN where it was not measured."""
    if measure == "psnr":
        values = _rebuilt([run])
        return float(np.nanmean(values)) if (~np.isnan(values)).any() else np.nan
    value = (run.audit or {}).get(measure)
    return np.nan if value is None else float(value)


def _rebuilt(runs: Sequence[RunLike]) -> Array:
    """Return the PSNR of every example that the runs' probes and later attacks rebuilt."""
    scores = [np.minimum(np.asarray(item.psnr, float), EXACT) for run in runs for item in results_of(run)]
    return np.concatenate(scores) if scores else np.empty(0)


def _panel(axes: Axes, table: pd.DataFrame, looks: Mapping[str, Style], name: str) -> None:
    front = table[table["pareto"]].sort_values("accuracy")
    dashed: Style = {"color": QUIET, "linewidth": 1.2, "linestyle": (0, (4, 2)), "zorder": 1}
    for _, own in front.groupby("client_defense", sort=False):
        axes.plot(own["accuracy"], own["leakage"], **dashed)
    for row in table.itertuples():
        look = {**looks[row.label], **_EDGE, "linestyle": ""}
        x, y = row.accuracy, row.leakage
        xs = reach([x], [row.accuracy_low], [row.accuracy_high])
        ys = reach([y], [row.leakage_low], [row.leakage_high])
        axes.errorbar([x], [y], xerr=xs, yerr=ys, markersize=7, capsize=2, elinewidth=1.0, **look)
        if row.measure == "psnr":
            ends = {"worst": row.leakage_worst, "best": row.leakage_best, "median": row.leakage_median}
            draw_spread(axes, x, ends, look)
    axes.scatter(
        front["accuracy"],
        front["leakage"],
        s=190,
        facecolors="none",
        clip_on=False,
        edgecolors="black",
        zorder=3,
    )
    dress(axes, "Test accuracy (more is better)", name)
    low, high = axes.get_xlim()
    axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))


def _legend(figure: Figure, axes: Axes, table: pd.DataFrame, looks: Mapping[str, Style]) -> None:
    for label, rows in table.groupby("label", sort=False):
        look = {**looks[label], **_EDGE, "linestyle": ""}
        axes.plot([], [], label=entry(str(label), int(rows["seeds"].iloc[0])), markersize=7, **look)
    ring: Style = {
        "marker": "o",
        "markersize": 12,
        "markerfacecolor": "none",
        "color": "black",
        "linewidth": 0,
    }
    axes.plot([], [], label="Pareto front", **ring)
    add_legend(figure, axes, "range" if (table["seeds"] > 1).any() else "")


def audit(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw what canaries found out about epsilon against what the accountant claims.

    On and above the diagonal a lower bound refutes the accountant. Estimates scatter around the truth, and
    may lie above.

    Returns:
        The figure, and one row a run.

    Raises:
        ScenarioError: No run holds both an audit and an epsilon.
    """
    rows = [_audited(label, run) for label, same in groups(runs).items() for run in same]
    table = pd.DataFrame([row for row in rows if row is not None])
    if table.empty:
        raise ScenarioError(
            "there is no audit to draw: no run holds both an audit and an epsilon; "
            "a run with [audit] and a privacy mechanism that allows accounting has both"
        )
    figure = new_figure(6.4, 5.0)
    axes = figure.subplots()
    values = table[["epsilon", "epsilon_audit_est", "epsilon_audit_low"]].to_numpy(dtype=float)
    ends = (float(table["epsilon"].min()) / 1.6, float(table["epsilon"].max()) * 1.6)
    top = max(np.nanmax(values) * 1.5, ends[1])
    line = np.geomspace(ends[0], ends[1], 50)
    axes.plot(line, line, color=QUIET, linestyle="--", linewidth=1.2)
    axes.fill_between(line, line, top, color=MALICIOUS, alpha=0.08, linewidth=0)
    axes.text(0.03, 0.96, "a lower bound up here\nrefutes the accountant", transform=axes.transAxes,
              fontsize=SMALL, color=MALICIOUS, va="top")  # fmt: skip
    estimated = table.dropna(subset=["epsilon_audit_est"])
    axes.plot(estimated["epsilon"], estimated["epsilon_audit_est"], "o", markersize=6, markerfacecolor="none",
              color=OKABE_ITO[2], label="estimate (no guarantee)")  # fmt: skip
    axes.plot(table["epsilon"], table["epsilon_audit_low"], "^", markersize=7, color=OKABE_ITO[0],
              label="lower bound")  # fmt: skip
    dress(axes, "ε that the accountant claims", "ε that canaries show")
    axes.set_xlim(*ends)
    logarithmic(axes)
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.4)
    axes.set_ylim(-0.02, top)
    axes.set_yticks([t for t in (0, 0.1, 0.3, 1, 3, 10, 30, 100, 300) if t <= top])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    add_legend(figure, axes)
    add_caption(figure, _audit_caption(table))
    return figure, table


def _audited(label: str, run: RunLike) -> dict[str, Any] | None:
    found = run.audit
    if not found or found.get("epsilon") is None:
        return None
    kept = (
        "audit",
        "num_canaries",
        "dimension",
        "delta",
        "epsilon",
        "epsilon_audit_low",
        "epsilon_audit_est",
    )
    row = {"label": label, "seed": run.manifest["seed"], **{key: found[key] for key in kept}}
    return {**row, "confidence": found["confidence"], "refuted": found["refuted"]}


def _audit_caption(table: pd.DataFrame) -> str:
    def told(column: str) -> str:
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(set(table[column])))

    return (
        f"Audit: {told('audit')} · canaries: {told('num_canaries')} · parameters: {told('dimension')} · "
        f"δ: {told('delta')}\neach bound holds with probability {told('confidence')} · runs: {len(table)}"
    )
