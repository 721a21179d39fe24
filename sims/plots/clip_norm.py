"""Clipping over the rounds: the bound C, the norms that it meets, and how many fit under it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import RunLike, groups
from .style import (
    LARGE,
    MALICIOUS,
    OKABE_ITO,
    QUIET,
    SMALL,
    add_caption,
    add_legend,
    dress,
    new_figure,
    parts_of,
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
    figure = new_figure(max(3.1 * columns, 5.6), 3.9 * rows + 0.6)
    limits = _limits(table[table["label"].isin(shown)])
    parts = parts_of(figure, rows=rows, widths=[1.0] * columns)
    for place, part in enumerate(parts[: len(shown)]):
        _panel(part, table[table["label"] == shown[place]], limits, first=place % columns == 0)
    add_legend(figure, parts[0].axes[0])
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


def _panel(part: object, table: pd.DataFrame, limits: tuple[float, float], first: bool) -> None:
    above, below = part.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])  # type: ignore[attr-defined]
    _norms(above, table)
    above.set_ylim(*limits)
    seeds = int(table["seeds"].iloc[0])
    name = f"{table['label'].iloc[0]}" + (f" (n = {seeds})" if seeds > 1 else "")
    dress(above, "", "L2 norm" if first else "", title=name)
    above.title.set_fontsize(SMALL if len(name) > 24 else LARGE)
    below.plot(table["round"], table["unclipped"], color=OKABE_ITO[0], linewidth=1.4)
    target = float(table["target_unclipped"].iloc[0])
    if np.isfinite(target):
        below.axhline(target, color=QUIET, linestyle="--", linewidth=1.2)
        below.annotate(
            "γ", (1.0, target), xycoords=("axes fraction", "data"), fontsize=SMALL, ha="right", va="bottom"
        )
    dress(below, "Round", "Unclipped" if first else "")
    percent_axis(below, 0.0, 1.0)
    whole_numbers(below)


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
