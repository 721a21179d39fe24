"""How far attacks on one message come with the CPU seconds that they spend."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import EXACT, RunLike
from .leak_marks import caption_of, decibels, dotted, draw_baselines, knowledge_of, looks_of
from .leaks import Leak, leaks_of
from .style import NORMAL, Style, add_caption, add_legend, dress, logarithmic, new_figure

_LEAST = 1e-3  # seconds: what a clock can tell, and where a step at 0 is drawn


def leakage_time(runs: Sequence[RunLike], most_messages: int = 4) -> tuple[Figure, pd.DataFrame]:
    """Draw the PSNR that attacks had reached against CPU seconds of one thread, a panel a message.

    A line is what an attack would have returned so far: the best by its own cost, as far as an attacker can
    tell, and not the best by the truth. It ends in a mark; an attack without steps is a mark alone.

    Args:
        runs: Runs whose messages were attacked.
        most_messages: Messages drawn, at least 1; the first ones.

    Returns:
        The figure, and one row an attack, message and step.

    Raises:
        ScenarioError: Nothing was rebuilt, or no time was kept; or a client defense was attacked by nobody
            who knows of it.
    """
    if most_messages < 1:
        raise ScenarioError(f"leakage-time shows at least 1 message, got {most_messages}")
    leaks = [one for one in leaks_of(runs) if one.item.cpu_seconds is not None]
    if not leaks:
        raise ScenarioError(
            "there is no time to draw leakage against: results of earlier versions hold none; attack again "
            "what was recorded, with 'gauntlet attack'"
        )
    found = list(dict.fromkeys(_message(one) for one in leaks))
    shown = found[:most_messages]
    leaks = [one for one in leaks if _message(one) in shown]
    table = pd.concat([_steps(one) for one in leaks], ignore_index=True)
    figure = _drawn(leaks, shown, float(table["psnr"].max()))
    more = f"The first {len(shown)} of {len(found)} messages." if len(found) > len(shown) else ""
    marks = "mean over the batch of what the attack would have returned, by its own cost"
    add_caption(figure, "\n".join(filter(None, [caption_of(leaks, marks, dotted(leaks)), more])))
    return figure, table


def _drawn(leaks: Sequence[Leak], shown: Sequence[tuple[str, int, int, int]], most: float) -> Figure:
    across = min(2, len(shown))
    down = -(-len(shown) // across)
    figure = new_figure(4.2 * across + 2.4 * (across == 1), 3.7 * down + 0.9)
    panels = np.atleast_1d(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)).ravel()
    looks = looks_of(leaks)
    for axes, message in zip(panels, shown, strict=False):
        _panel(axes, [one for one in leaks if _message(one) == message], looks, len(shown) > 1)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[: len(shown)]:
        axes.tick_params(labelbottom=True)  # each has its own numbers, as it has its name of the axis
    for attack, look in looks.items():
        panels[0].plot([], [], label=attack, markersize=7, **look)
    decibels(panels[0], most)
    add_legend(figure, panels[0])
    return figure


def _message(one: Leak) -> tuple[str, int, int, int]:
    return one.label, one.seed, one.item.round, one.item.client_id


def _steps(one: Leak) -> pd.DataFrame:
    """Return the steps of one attack and its end, each with its figures."""
    item, steps = one.item, one.item.progress
    last: dict[str, Any] = {"seconds": [item.cpu_seconds], "psnr": [float(np.nanmean(one.psnr))]}
    last |= {"closures": [item.closures], "cost": [np.nan], "end": [True]}
    parts = [pd.DataFrame(last, dtype=object)]
    if steps is not None and len(steps.seconds):
        kept = {"seconds": steps.seconds, "psnr": np.minimum(steps.psnr, EXACT), "closures": steps.closures}
        parts.insert(0, pd.DataFrame({**kept, "cost": steps.cost, "end": False}, dtype=object))
    table = pd.concat(parts, ignore_index=True)
    for name in ("seconds", "psnr", "closures", "cost"):
        table[name] = table[name].astype(float)
    said = dict(zip(("label", "seed", "round", "client_id"), _message(one), strict=True))
    for place, (name, value) in enumerate({"attack": one.attack, **said, **knowledge_of([one])}.items()):
        table.insert(place, name, value)
    return table


def _panel(axes: Axes, leaks: Sequence[Leak], looks: dict[str, Style], several: bool) -> None:
    for one in leaks:
        rows, look = _steps(one).dropna(subset=["seconds", "psnr"]), looks[one.attack]
        seconds = rows["seconds"].clip(lower=_LEAST)
        line = {**look, "marker": ""}
        axes.plot(seconds, rows["psnr"], drawstyle="steps-post", linewidth=1.6, zorder=2, **line)
        end = {**look, "linestyle": "", "markersize": 8, "zorder": 3}
        axes.plot(seconds.iloc[-1:], rows["psnr"].iloc[-1:], **end)
    draw_baselines(axes, leaks)
    label, seed, round_, client = _message(leaks[0])
    name = f"round {round_}, client {client}, batch of {len(leaks[0].psnr)}"
    name = f"{label}, seed {seed}, {name}" if several else name
    dress(axes, "CPU seconds of one thread", "PSNR so far, dB")
    axes.set_title(fill(name, 45), fontsize=NORMAL, loc="left")
    logarithmic(axes)
