"""Clipping over the rounds: the bound C, the norms that it meets, and how many fit under it."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...core.errors import ScenarioError
from .base import RunLike, groups
from .style import (
    MALICIOUS,
    OKABE_ITO,
    QUIET,
    SMALL,
    add_caption,
    add_legend,
    dress,
    entry,
    new_figure,
    percent_axis,
    whole_numbers,
)

MOST = 6  # labels drawn side by side
_COLUMNS = 3
_QUANTILES = {"norm_q10": 0.1, "norm_q25": 0.25, "norm_q50": 0.5, "norm_q75": 0.75, "norm_q90": 0.9}


def clip_norm(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw, a panel a label, C over the rounds on the quantiles of the norms before clipping.

    Norms of all seeds stand together; C is the mean over seeds. Canaries and attackers are left out. Above
    6 labels the first 6 are drawn, and the picture says so.

    Returns:
        The figure, and one row a label and round: ``clip_norm``, ``norm_q10`` to ``norm_q90``, and
        ``unclipped``, the share of norms of at most C.

    Raises:
        ScenarioError: No run clipped, or none recorded norms before clipping.
    """
    tables = [_table(label, members) for label, members in groups(runs).items()]
    table = pd.concat([t for t in tables if not t.empty] or [pd.DataFrame()], ignore_index=True)
    if table.empty:
        raise ScenarioError(
            "there is no clip norm to draw: no run clipped and recorded the norms before it; "
            "a run with a privacy mechanism that clips has both"
        )
    labels = list(dict.fromkeys(table["label"]))
    shown = labels[:MOST]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(max(3.1 * columns, 5.6), 4.1 * rows + 0.6)
    grid = figure.subplots(2 * rows, columns, squeeze=False, sharey="row", height_ratios=[2.2, 1.0] * rows)
    limits = _limits(table[table["label"].isin(shown)])
    for place in range(rows * columns):
        above, below = grid[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]
        if place < len(shown):
            _panel(above, below, table[table["label"] == shown[place]], first=place % columns == 0)
            above.set_ylim(*limits)
        else:
            above.set_axis_off()
            below.set_axis_off()
    add_legend(figure, grid[0, 0])
    more = f" The first {MOST} of {len(labels)} labels." if len(labels) > MOST else ""
    add_caption(figure, f"Norms before clipping: seen by the experimenter only, not released.{more}")
    return figure, table


def _table(label: str, members: Sequence[RunLike]) -> pd.DataFrame:
    """Return a label's rows; none where it did not clip."""
    rounds = pd.concat([run.rounds for run in members])
    clients = pd.concat([run.clients for run in members])
    if not {"clip_norm"} <= set(rounds) or "raw_norm" not in clients or rounds["clip_norm"].isna().all():
        return pd.DataFrame()
    bound = rounds.groupby("round")["clip_norm"].mean()
    honest = clients[(clients["truth"] == "honest") & np.isfinite(clients["raw_norm"].astype(float))]
    honest = honest.assign(bound=honest["round"].map(bound))
    norms = honest.groupby("round")["raw_norm"]
    table = pd.DataFrame({name: norms.quantile(q) for name, q in _QUANTILES.items()})
    table["unclipped"] = (honest["raw_norm"] <= honest["bound"]).groupby(honest["round"]).mean()
    table.insert(0, "clip_norm", bound)
    table.insert(0, "label", label)
    target = members[0].manifest["scenario"].get("privacy", {}).get("target_unclipped")
    table["target_unclipped"] = float(target) if target is not None else np.nan
    table["seeds"] = len(members)
    return table.rename_axis("round").reset_index()


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    values = table[["clip_norm", "norm_q10", "norm_q90"]].to_numpy(dtype=float)
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.min()) / 1.3, float(values.max()) * 1.3


def _panel(above: Axes, below: Axes, table: pd.DataFrame, first: bool) -> None:
    _norms(above, table)
    dress(above, "", "L2 norm" if first else "")
    above.set_title(
        fill(entry(table["label"].iloc[0], int(table["seeds"].iloc[0])), 34), fontsize=SMALL, loc="left"
    )
    below.plot(table["round"], table["unclipped"], color=OKABE_ITO[0], linewidth=1.4)
    target = float(table["target_unclipped"].iloc[0])
    if np.isfinite(target):
        below.axhline(target, color=QUIET, linestyle="--", linewidth=1.2)
        right = below.get_yaxis_transform()
        below.text(1.0, target, "γ", fontsize=SMALL, transform=right, ha="right", va="bottom")
    dress(below, "Round", "Unclipped" if first else "")
    percent_axis(below, 0.0, 1.0)
    for axes in (above, below):
        whole_numbers(axes)
    above.tick_params(labelbottom=False)


def _norms(axes: Axes, table: pd.DataFrame) -> None:
    color, x = OKABE_ITO[5], table["round"]
    axes.fill_between(
        x,
        table["norm_q10"],
        table["norm_q90"],
        color=color,
        alpha=0.25,
        linewidth=0,
        label="10 to 90 % of norms",
    )
    axes.fill_between(
        x, table["norm_q25"], table["norm_q75"], color=color, alpha=0.5, linewidth=0, label="25 to 75 %"
    )
    axes.plot(x, table["norm_q50"], color=OKABE_ITO[0], linewidth=1.4, label="median norm")
    axes.plot(x, table["clip_norm"], color=MALICIOUS, linestyle="--", linewidth=1.8, label="clip norm C")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
