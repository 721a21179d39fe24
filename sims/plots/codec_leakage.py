"""What attackers rebuild behind each codec, against the bits it sends: unaware and aware side by side."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import RunLike, first_labels, groups
from .leak_marks import SPREAD, decibels, dotted, draw_baselines, draw_spread, figures_of
from .leaks import Leak, leaks_of
from .style import Style, add_caption, add_legend, dress, logarithmic, new_figure, styles

MOST_MARKS = 24
FLOAT = 32.0  # bits a coordinate of a message without a codec
_KINDS = {"no": "takes a frame for the update itself", "yes": "knows of the codec", "": "there is no codec"}


def codec_leakage(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw the PSNR of what was rebuilt against the bits a coordinate that a codec sends.

    A label has up to two marks at the same bits, joined: hollow, of attackers that do not know of the codec,
    and filled, of those that do; without a codec one. Each is the mean over all examples, with the median,
    the worst and the best; bits are those of whole frames, means over rounds, clients and seeds.

    Returns:
        The figure, and one row a label and kind of attacker.

    Raises:
        ScenarioError: Nothing was rebuilt that can be measured in dB.
    """
    shown, note = first_labels(runs, MOST_MARKS)
    leaks = leaks_of(shown)
    members = groups(shown)
    rows = [
        {"label": label, "bits": _bits(members[label]), "knows": knows, **figures_of(own)}
        for label in dict.fromkeys(one.label for one in leaks)
        for knows, own in _by_knowledge([one for one in leaks if one.label == label])
    ]
    table = pd.DataFrame(rows)
    if table["bits"].isna().all():
        raise ScenarioError("there are no bits to draw leakage against: no run has a table of frames")
    figure = new_figure(7.4, 5.4 + 0.12 * table["label"].nunique())
    axes = figure.subplots()
    looks = styles(table["label"])
    draw_baselines(axes, leaks)
    for label, own in table.groupby("label", sort=False):
        _draw(axes, str(label), own, looks[label])
    dress(axes, "Bits a coordinate, whole frames", "PSNR of rebuilt examples, dB (less is better)")
    logarithmic(axes)
    decibels(axes, float(table["best"].max()))
    add_legend(figure, axes)
    marks = "hollow: takes a frame for the update itself; filled: knows of the codec"
    add_caption(figure, "\n".join(filter(None, [" · ".join([marks, SPREAD]), dotted(leaks), note])))
    return figure, table


def _by_knowledge(leaks: Sequence[Leak]) -> list[tuple[str, list[Leak]]]:
    """Return the leaks of one label by whether their attackers know of the codec."""
    words: dict[bool | None, str] = {False: "no", True: "yes", None: ""}
    kinds = [(word, [one for one in leaks if one.adapted is knows]) for knows, word in words.items()]
    return [(word, own) for word, own in kinds if own]


def _bits(members: Sequence[RunLike]) -> float:
    """Return the bits a coordinate of frames that went up; of float32 without a table, 32."""
    frames = [run.frames for run in members]
    found = [one[one["direction"] == "up"] for one in frames if one is not None]
    found = [one for one in found if not one.empty]
    if not found:
        return FLOAT
    whole = pd.concat(found)
    return float(8 * whole["frame_bytes"].sum() / whole["numel"].sum())


def _draw(axes: Any, label: str, table: pd.DataFrame, look: Style) -> None:
    plain = {**look, "linestyle": ""}
    axes.plot(table["bits"], table["mean"], color=look["color"], linewidth=1.2, zorder=1)
    for place, row in enumerate(table.to_dict("records")):
        hollow = {"markerfacecolor": "white"} if row["knows"] == "no" else {}
        x = row["bits"] * (1.0 + 0.012 * place)
        axes.plot([x], [row["mean"]], markersize=8, **{**plain, **hollow})
        draw_spread(axes, x, row, look)
    axes.plot([], [], label=label, markersize=8, **plain)
