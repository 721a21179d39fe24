"""What an eavesdropper rebuilt: the client's examples above, the attack's below, the scores under each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ...core.errors import ScenarioError
from .base import Array, RebuiltLike, RunLike, groups
from .style import NORMAL, SMALL, add_caption, new_figure, parts_of


def reconstructions(
    runs: Sequence[RunLike], most_messages: int = 6, most_examples: int = 8
) -> tuple[Figure, pd.DataFrame]:
    """Draw rebuilt examples under the true ones, a pair of rows for each observed message.

    Messages and examples stand in the order in which they were observed: none is chosen for its score.

    Args:
        runs: Runs whose messages were observed and attacked.
        most_messages: Messages drawn, at least 1; the first ones.
        most_examples: Examples drawn of each, at least 1; the first ones.

    Raises:
        ScenarioError: Nothing was rebuilt; or the examples are neither images nor rows of features.
    """
    if most_messages < 1 or most_examples < 1:
        raise ScenarioError(
            f"a gallery shows at least 1 message and 1 example, got {most_messages} and {most_examples}"
        )
    found = messages(runs)
    if not found:
        raise ScenarioError(
            "there is no reconstruction to draw: nothing was rebuilt in these runs; "
            "a run that observes messages and attacks them with a leakage attack has some"
        )
    found = found[:most_messages]
    table = pd.DataFrame([row for label, item in found for row in _rows(label, item, most_examples)])
    columns = max(min(len(item.truth), most_examples) for _, item in found)
    figure = new_figure(max(1.05 * columns + 0.6, 5.0), 2.75 * len(found) + 0.5)
    several = len({label for label, _ in found}) > 1
    apart = {label: differing([item for name, item in found if name == label]) for label, _ in found}
    for part, (label, item) in zip(parts_of(figure, rows=len(found)), found, strict=True):
        part.suptitle(title(item, label if several else "", apart[label]), fontsize=NORMAL, x=0.01, ha="left")
        draw_pairs(part, item, columns)
    add_caption(figure, _scale(table))
    return figure, table


def messages(runs: Sequence[RunLike]) -> list[tuple[str, RebuiltLike]]:
    """Return every rebuilt message with the label of its run, in the order of the runs."""
    return [(label, item) for label, same in groups(runs).items() for run in same for item in run.gallery()]


def title(item: RebuiltLike, label: str = "", apart: Mapping[str, Sequence[str]] = {}) -> str:
    """Return which message this is and who rebuilt it; known labels are always named.

    Args:
        item: The message.
        label: Which run it is of, where there are several.
        apart: From attacks to those of their settings that are named.
    """
    told = ["labels_known"] if item.settings.get("labels_known") else []
    keys = dict.fromkeys([*apart.get(item.attack, ()), *told])
    named = ", ".join(f"{key} = {_said(item.settings, key)}" for key in keys)
    who = f"{item.attack} ({named})" if named else item.attack
    return f"{label + ': ' if label else ''}{who}, round {item.round}, client {item.client_id}"


def _said(settings: Mapping[str, Any], key: str) -> str:
    """Return a setting as a scenario has it, ``true`` or ``0.5``; ``default`` where it has none."""
    value = settings.get(key, "default")
    return str(value).lower() if isinstance(value, bool) else str(value)


def differing(items: Sequence[RebuiltLike]) -> dict[str, list[str]]:
    """Return, for each attack, the settings in which its messages differ."""
    found: dict[str, list[str]] = {}
    for attack in dict.fromkeys(item.attack for item in items):
        tables = [item.settings for item in items if item.attack == attack]
        keys = dict.fromkeys(key for table in tables for key in table)
        found[attack] = [key for key in keys if len({repr(table.get(key)) for table in tables}) > 1]
    return found


def draw_pairs(figure: Figure | SubFigure, item: RebuiltLike, columns: int) -> None:
    """Draw one message's examples in two rows: true above, rebuilt below with PSNR and SSIM.

    Args:
        figure: The figure, or a part of it, to fill.
        item: The message.
        columns: Places in a row; left empty where the message holds fewer examples.
    """
    grid: Array = figure.subplots(2, columns, squeeze=False)
    low, high = _range(item.truth)
    for row, (name, examples) in enumerate((("true", item.truth), ("rebuilt", item.rebuilt))):
        for i, axes in enumerate(grid[row]):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(i < len(examples))
            axes.set_anchor("N" if row else "S")
            if i < len(examples):
                _show(axes, np.clip((np.asarray(examples[i], float) - low) / (high - low), 0, 1))
                axes.set_xlabel(_under(item, i, row), fontsize=SMALL, labelpad=2)
        grid[row, 0].set_ylabel(name, fontsize=SMALL)


def score(psnr: float, ssim: float) -> str:
    """Return ``"23.1 dB"``, with SSIM on a second line where there is one."""
    words = "exact" if np.isposinf(psnr) else "not finite" if np.isnan(psnr) else f"{psnr:.1f} dB"
    return words if np.isnan(ssim) else f"{words}\nSSIM {ssim:.2f}"


def _under(item: RebuiltLike, i: int, row: int) -> str:
    if row == 0:
        return f"label {item.truth_labels[i]}"
    return score(float(item.psnr[i]), float(item.ssim[i]))


def _range(truth: Array) -> tuple[float, float]:
    """Return the values drawn as black and white: 0 and 1 for pixels, else the truth's own extremes."""
    low, high = float(truth.min()), float(truth.max())
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)


def _show(axes: Axes, example: Array) -> None:
    picture: Any = example
    if example.ndim == 3 and len(example) == 1:
        picture = example[0]
    elif example.ndim == 3 and len(example) == 3:
        picture = example.transpose(1, 2, 0)
    elif example.ndim == 1:
        picture = example[None]  # a row of features as a strip
    elif example.ndim != 2:
        raise ScenarioError(
            f"an example of shape {example.shape} cannot be drawn; "
            "allowed: [H, W], [1, H, W], [3, H, W] or a row of features [D]"
        )
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if example.ndim == 1:
        axes.set_aspect("auto")


def _rows(label: str, item: RebuiltLike, most: int) -> Iterable[Mapping[str, Any]]:
    pixels = _range(item.truth) == (0.0, 1.0)
    for i in range(min(len(item.truth), most)):
        yield {
            "label": label,
            "attack": item.attack,
            "settings": ", ".join(f"{key} = {_said(item.settings, key)}" for key in item.settings),
            "round": item.round,
            "client_id": item.client_id,
            "example": i,
            "truth_label": item.truth_labels[i],
            "rebuilt_label": item.labels[i],
            "psnr": float(item.psnr[i]),
            "ssim": float(item.ssim[i]),
            "flat_psnr": _flat_psnr(np.asarray(item.truth[i], float)) if pixels else float("nan"),
        }


def _flat_psnr(example: Array) -> float:
    """Return what a flat picture in the example's own mean colour would score, in dB."""
    space = tuple(range(1, example.ndim)) if example.ndim == 3 else None
    mse = float(example.var(axis=space).mean())
    return -10.0 * float(np.log10(mse)) if mse > 0 else float("inf")


def _scale(table: pd.DataFrame) -> str:
    flat = table["flat_psnr"].replace(np.inf, np.nan).dropna()
    if flat.empty:
        return "PSNR in dB: higher is a closer copy."
    scores = " to ".join(dict.fromkeys(f"{value:.1f}" for value in (flat.min(), flat.max())))
    return (
        "PSNR: higher is a closer copy. For scale, a flat picture\n"
        f"in each example's own mean colour scores {scores} dB."
    )
