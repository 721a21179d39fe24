"""What each layer takes on the wire, and which option a planner gave it in each round."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import RunLike, first_labels, groups
from .style import (
    NORMAL,
    SMALL,
    Style,
    add_caption,
    add_legend,
    dress,
    entry,
    new_figure,
    plain_ticks,
    styles,
)

MOST_LAYERS = 24
MOST_PLANS = 6
_LETTERS = 72  # of a panel's title in one line


def bits(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw the bits a coordinate that each layer took, beside those of an ideal coder, codec by codec.

    Means over rounds and seeds, of the message of the lowest client id that reached the defense in a round:
    the bodies of its records. Hollow marks are ``ideal_bits`` as the codec declares them.

    Returns:
        The figure, and one row a label and layer.

    Raises:
        ScenarioError: No run has a table of layers.
    """
    shown, note = first_labels(runs)
    tables = [_bits_of(label, members) for label, members in groups(shown).items()]
    tables = [one for one in tables if one is not None]
    if not tables:
        raise ScenarioError(
            "there is no table of layers to draw: a run with a codec other than "
            "identity, whose records are one a tensor, has one"
        )
    table = pd.concat(tables, ignore_index=True)
    names = list(dict.fromkeys(table["layer"]))
    kept = [*names[:MOST_LAYERS]]
    figure = new_figure(max(6.4, 0.34 * len(kept) * table["label"].nunique() ** 0.5 + 3.0), 5.0)
    axes = figure.subplots()
    looks = styles(table["label"])
    _draw_bits(axes, table[table["layer"].isin(kept)], kept, looks)
    add_legend(figure, axes)
    cut = f"The first {MOST_LAYERS} of {len(names)} layers; all stand in the table." if names != kept else ""
    told = "filled: bodies as they were sent; hollow: an ideal coder; both without the records' headers"
    add_caption(figure, "\n".join(filter(None, [told, cut, note])))
    return figure, table


def _layers(run: RunLike) -> pd.DataFrame | None:
    found = run.layers
    return None if found is None or found.empty else found


def _bits_of(label: str, members: Sequence[RunLike]) -> pd.DataFrame | None:
    parts = [found[found["numel"] > 0] for run in members if (found := _layers(run)) is not None]
    if not parts:
        return None
    whole = pd.concat(parts)
    whole = whole.assign(
        sent=8 * whole["payload_bytes"] / whole["numel"], ideal=whole["ideal_bits"] / whole["numel"]
    )
    found = whole.groupby("layer", sort=False)[["numel", "sent", "ideal"]].mean().reset_index()
    found = found.rename(columns={"sent": "bits", "ideal": "ideal_bits"})
    found.insert(0, "label", label)
    return found.assign(numel=found["numel"].astype(int), seeds=len(members))


def _draw_bits(axes: Axes, table: pd.DataFrame, names: Sequence[str], looks: Mapping[str, Style]) -> None:
    labels = list(dict.fromkeys(table["label"]))
    sizes = table.groupby("layer", sort=False)["numel"].first()
    for number, label in enumerate(labels):
        own = table[table["label"] == label]
        aside = 0.0 if len(labels) == 1 else 0.7 * (number / (len(labels) - 1) - 0.5)
        places = [names.index(layer) + aside for layer in own["layer"]]
        look = {**looks[label], "linestyle": ""}
        axes.vlines(places, own["ideal_bits"], own["bits"], color=look["color"], linewidth=1.2)
        name = entry(label, int(own["seeds"].iloc[0]))
        axes.plot(places, own["ideal_bits"], markersize=6, **{**look, "markerfacecolor": "white"})
        axes.plot(places, own["bits"], markersize=5, label=name, **look)
    dress(axes, "Layer, with how many coordinates it has", "Bits a coordinate")
    axes.set_xticks(
        range(len(names)), [f"{name}\n{sizes[name]:,}" for name in names],
        rotation=0 if len(names) <= 6 else 60, ha="center" if len(names) <= 6 else "right",
    )  # fmt: skip
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)


def plan(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw which value of its option a planner such as L-GreCo gave each layer, round by round.

    One panel a label, of its first seed. Dark is small: fewer bits.

    Returns:
        The figure, and one row a label, round and layer.

    Raises:
        ScenarioError: No run has a codec that plans.
    """
    shown, note = first_labels(runs, MOST_PLANS)
    tables = {label: _choices(members[0]) for label, members in groups(shown).items()}
    found = {label: table for label, table in tables.items() if table is not None}
    if not found:
        raise ScenarioError(
            "there is no plan to draw: no run has a codec that chooses layer by layer; one with l_greco does"
        )
    whole = pd.concat([table.assign(label=label) for label, table in found.items()], ignore_index=True)
    rows = max(len(table["layer"].unique()) for table in found.values())
    figure = new_figure(7.0, len(found) * (0.9 + 0.22 * min(max(rows, 3), 64)) + 0.6)
    panels = np.atleast_1d(figure.subplots(len(found), 1))
    low, high = float(whole["choice"].min()), float(whole["choice"].max())
    for axes, (label, table) in zip(panels, found.items(), strict=True):
        _draw_plan(figure, axes, table, label, (low, max(high, low * 1.0001)))
    add_caption(figure, "\n".join(filter(None, ["one seed a panel; bright: more bits", note])))
    return figure, whole[["label", "round", "layer", "numel", "choice"]]


def _choices(run: RunLike) -> pd.DataFrame | None:
    found = _layers(run)
    if found is None or bool(found["choice"].isna().all()):
        return None
    return found[["round", "layer", "numel", "choice"]]


def _draw_plan(figure: Figure, axes: Axes, table: pd.DataFrame, label: str, ends: Any) -> None:
    grid = table.pivot_table(index="layer", columns="round", values="choice", sort=False)
    grid = grid.reindex(columns=sorted(grid.columns))
    norm = LogNorm(*ends) if ends[0] > 0 else None
    edges = [*grid.columns.to_list(), int(grid.columns[-1]) + 1]
    image = axes.pcolormesh(
        np.array(edges) - 0.5, np.arange(len(grid) + 1) - 0.5, grid.to_numpy(float), cmap="cividis", norm=norm
    )
    axes.invert_yaxis()
    sizes = table.groupby("layer", sort=False)["numel"].first()
    axes.set_yticks(range(len(grid)), [f"{name} ({sizes[name]:,})" for name in grid.index], fontsize=SMALL)
    axes.set_xlabel("Round", fontsize=NORMAL)
    axes.set_title(fill(label or "planned", _LETTERS), fontsize=NORMAL, loc="left")
    axes.tick_params(labelsize=SMALL)
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    values = sorted(set(table["choice"].dropna()))
    bar.set_ticks(values, labels=[f"{value:g}" for value in values])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=SMALL)
