"""What an eavesdropper rebuilt of one client's examples, in one picture: the truth, then a row a setting."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import Array, RunLike
from .gallery import Message, differing, messages, said
from .pictures import right_or, show
from .shades import known, scaled
from .style import NORMAL, SMALL, add_caption, new_figure

MOST_ROWS = 12


def gallery(runs: Sequence[RunLike], most_examples: int = 8) -> tuple[Figure, pd.DataFrame]:
    """Draw one client's true examples once, and below them a row for each setting and attack on these.

    The client, round and seed are those of the first rebuilt message; every other setting's message of the
    same true examples is a row, in the order of the runs. Settings whose client trained on others are left
    out, and counted in the small print.

    Args:
        runs: Runs of several settings, such as defenses or codecs.
        most_examples: Examples drawn, at least 1; the first ones.

    Raises:
        ScenarioError: Nothing was rebuilt, or no truth is there; or the examples are neither images nor rows
            of features.
    """
    if most_examples < 1:
        raise ScenarioError(f"a gallery shows at least 1 example, got {most_examples}")
    found = [message for message in messages(runs) if known(message.item)]
    if not found:
        raise ScenarioError(
            "there is no reconstruction to draw: nothing was rebuilt in these runs, or the true examples are "
            "not there; a run that observes messages and attacks them with a leakage attack has some"
        )
    same = [message for message in found if _same_truth(message, found[0])]
    rows = same[:MOST_ROWS]
    columns = min(len(found[0].item.truth), most_examples)
    names = _names(rows)
    figure = new_figure(max(1.05 * columns + 1.9, 5.0), 1.15 * (len(rows) + 1) + 0.6)
    grid: Array = figure.subplots(len(rows) + 1, columns, squeeze=False)
    _row(grid[0], "true", scaled(found[0].item.truth, found[0].item), None)
    for places, name, message in zip(grid[1:], names, rows, strict=True):
        _row(places, name, scaled(message.item.rebuilt, message.item), message)
    add_caption(figure, _small_print(found, same, rows, columns))
    return figure, _table(rows, names, columns)


def _same_truth(message: Message, first: Message) -> bool:
    here, there = message.item, first.item
    place = (here.round, here.client_id, message.seed) == (there.round, there.client_id, first.seed)
    return place and np.array_equal(np.asarray(here.truth), np.asarray(there.truth))


def _names(rows: Sequence[Message]) -> list[str]:
    """Return what tells the rows apart: the label, the attack, or both; then an attack's own settings."""
    labels, attacks = {m.label for m in rows}, {m.item.attack for m in rows}
    apart = differing([m.item for m in rows])
    names = []
    for m in rows:
        shown = [*([m.label] if len(labels) > 1 else []), *([m.item.attack] if len(attacks) > 1 else [])]
        own = [f"{key} = {said(m.item.settings, key)}" for key in apart[m.item.attack]]
        alike = sum((o.label, o.item.attack) == (m.label, m.item.attack) for o in rows) > 1
        names.append(", ".join([*(shown or [m.item.attack]), *(own if alike else [])]))
    return names


def _row(places: Array, name: str, examples: Array, message: Message | None) -> None:
    for i, axes in enumerate(places):
        axes.set_xticks([])
        axes.set_yticks([])
        show(axes, examples[i])
        if message is not None:
            axes.set_xlabel(right_or(message.item, i), fontsize=SMALL, labelpad=2)
    places[0].set_ylabel(fill(name, 20), fontsize=NORMAL, rotation=0, ha="right", va="center", labelpad=6)


def _small_print(
    found: Sequence[Message], same: Sequence[Message], rows: Sequence[Message], columns: int
) -> str:
    item = found[0].item
    scores = (
        "PSNR: higher is a closer copy." if item.tokens is None else "Below: the share of positions right."
    )
    where = f"Client {item.client_id}, round {item.round}, seed {found[0].seed}. {scores}"
    cut = [f"the first {columns} of {len(item.truth)} examples"] if columns < len(item.truth) else []
    cut += [f"the first {len(rows)} of {len(same)} rows"] if len(rows) < len(same) else []
    away = len(found) - len(same)
    others = f" {away} rebuilt messages of other examples are not shown." if away else ""
    return f"{where}{' Drawn: ' + ', '.join(cut) + '.' if cut else ''}{others}"


def _table(rows: Sequence[Message], names: Sequence[str], columns: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": name,
            "label": m.label,
            "attack": m.item.attack,
            "seed": m.seed,
            "round": m.item.round,
            "client_id": m.item.client_id,
            "example": i,
            "psnr": float(m.item.psnr[i]),
            "ssim": float(m.item.ssim[i]),
            **({} if m.item.tokens is None else {"tokens": float(m.item.tokens[i])}),
        }
        for name, m in zip(names, rows, strict=True)
        for i in range(columns)
    )
