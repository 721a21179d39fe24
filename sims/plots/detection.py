"""How well a defense finds the malicious clients, round by round."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import RunLike, groups, over_seeds
from .style import (
    add_caption,
    add_legend,
    banded,
    draw_lines,
    dress,
    new_figure,
    percent_axis,
    styles,
    whole_numbers,
)

_FLAGGED = ("true_positives", "false_positives", "resting_flagged")
_PANELS = (
    ("precision", "Precision", "share of the flagged that ever attacked"),
    ("recall", "Recall", "share of the attacking that are flagged"),
)
_ALARMS = (("false_positive_rate", "False alarms", "share of those that never attacked that is flagged"),)


def detection(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw precision and recall of the flags by round, one line a label whose defense ever flagged a client.

    The shares are those of the table of rounds, of the clients that attack in each; a line breaks where a
    round leaves one undefined, or nobody attacks in it. Where nobody ever attacks, the share of false alarms
    stands in the place of both. A label that never flagged anybody has no share to draw: a note names it.

    Raises:
        ScenarioError: Another ``band``, or no client was ever flagged in any run.
    """
    members = groups(runs)
    flagging = {name: same for name, same in members.items() if _total(same, _FLAGGED)}
    if not flagging:
        raise ScenarioError(
            f"there is no detection to draw: no client was ever flagged in {', '.join(members)}; "
            "a run whose defense flags clients (not only outweighs them) has some"
        )
    panels = _PANELS if _total(runs, ["true_positives", "false_negatives"]) else _ALARMS
    table = over_seeds([_found(run) for run in runs], [name for name, *_ in panels], band=band)
    table = table[table["label"].isin(flagging)].reset_index(drop=True)
    figure = new_figure(8.4 if len(panels) > 1 else 6.4, 3.9)
    looks = styles(table["label"])
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, title, meaning) in zip(grid, panels, strict=True):
        draw_lines(axes, table, "round", name, looks)
        for line in axes.lines:
            line.set_markevery(None)
        dress(axes, "Round", title, meaning)
        whole_numbers(axes)
        percent_axis(axes, 0.0, 1.0)
    add_legend(figure, figure.axes[0], banded(table, band))
    if silent := [name for name in members if name not in flagging]:
        add_caption(figure, f"Never flagged anybody: {', '.join(silent)}.")
    return figure, table


def _found(run: RunLike) -> Any:
    """Return a run whose rounds say no recall where nobody attacked; its tables have 1 there."""
    rounds = run.rounds
    nobody = rounds["true_positives"] + rounds["false_negatives"] == 0
    told = rounds.assign(recall=rounds["recall"].mask(nobody))
    return SimpleNamespace(origin=run.origin, manifest=run.manifest, rounds=told)


def _total(runs: Sequence[RunLike], columns: Sequence[str]) -> int:
    """Return a sum over rounds and runs; what older runs have no column for counts nothing."""
    return sum(int(run.rounds[column].sum()) for run in runs for column in columns if column in run.rounds)
