"""Examples as pictures: true ones, rebuilt ones, what lies between, and the steps of a search."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ...core.errors import ScenarioError
from .base import EXACT, Array, RebuiltLike
from .shades import known, range_of, scaled
from .style import SMALL


def draw_pairs(figure: Figure | SubFigure, item: RebuiltLike, columns: int, difference: bool = False) -> None:
    """Draw one message's examples in rows: true above, rebuilt with its scores, and what lies between.

    Args:
        figure: The figure, or a part of it, to fill.
        item: The message.
        columns: Places in a row; left empty where the message holds fewer examples.
        difference: Whether a third row shows by how much they differ: black where they do not.
    """
    rows = [("true", scaled(item.truth, item)), ("rebuilt", scaled(item.rebuilt, item))]
    if difference and known(item):
        rows.append(("difference", difference_of(item.truth, item.rebuilt)))
    grid: Array = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, examples) in enumerate(rows):
        for i, axes in enumerate(grid[row]):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(i < len(examples))
            axes.set_anchor("N" if row else "S")
            if i < len(examples):
                show(axes, examples[i])
                axes.set_xlabel(_under(item, i, row), fontsize=SMALL, labelpad=2)
        beside: Any = {
            "rotation": 0,
            "ha": "right",
            "va": "center",
        }  # rows may be lower than the word is long
        grid[row, 0].set_ylabel(name, fontsize=SMALL, **beside)


def difference_of(truth: Array, rebuilt: Array) -> Array:
    """Return absolute differences as shares of the range of values, at most 1; of tokens, which are wrong."""
    if truth.dtype.kind in "iu":
        return np.asarray(truth != rebuilt, float)
    low, high = range_of(truth)
    apart = np.abs(np.asarray(rebuilt, float) - np.asarray(truth, float))
    return np.asarray(np.clip(apart / (high - low), 0, 1))


def steps_of(item: RebuiltLike, most: int) -> list[int]:
    """Return at most ``most`` of the steps that an attack kept, evenly spread, the last one among them."""
    count = 0 if item.progress is None else len(item.progress.x)
    return sorted({round(i) for i in np.linspace(0, count - 1, min(most, count))}) if count else []


def draw_steps(figure: Figure | SubFigure, item: RebuiltLike, columns: int, most: int) -> None:
    """Draw the first example of a message, and before it what the attack had made of it after some steps.

    Args:
        figure: The figure, or a part of it, to fill.
        item: The message, whose attack kept its steps.
        columns: Places in the row; the first is the truth's.
        most: Steps drawn, at least 1.
    """
    progress: Any = item.progress
    places: Array = figure.subplots(1, columns, squeeze=False)[0]
    shown = [item.truth[0], *(progress.x[step, 0] for step in steps_of(item, most))]
    words = ["true", *(_step_words(progress, step) for step in steps_of(item, most))]
    for i, axes in enumerate(places):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(i < len(shown))
        if i < len(shown):
            show(axes, scaled(shown[i], item))
            axes.set_xlabel(words[i], fontsize=SMALL, labelpad=2)


def _step_words(progress: Any, step: int) -> str:
    return f"{progress.closures[step]:.0f}\n{score(float(progress.psnr[step]), np.nan)}"


def score(psnr: float, ssim: float) -> str:
    """Return ``"23.1 dB"``, with SSIM on a second line where there is one."""
    words = "exact" if psnr >= EXACT else "not finite" if np.isnan(psnr) else f"{psnr:.1f} dB"
    return words if np.isnan(ssim) else f"{words}\nSSIM {ssim:.2f}"


def _under(item: RebuiltLike, i: int, row: int) -> str:
    if row == 2:
        most = 100 * float(difference_of(item.truth, item.rebuilt)[i].max())
        whole = most >= 99.5  # which .2g would write as 1e+02
        return f"at most {most:.{'0f' if whole else '2g'}} %" if np.isfinite(most) else ""
    if not known(item):
        return "not known" if row == 0 else ""
    if row == 0:
        return f"label {item.truth_labels[i]}" if item.truth_labels.ndim == 1 else ""
    return right_or(item, i, float(item.ssim[i]))


def right_or(item: RebuiltLike, i: int, ssim: float = np.nan) -> str:
    """Return the share of a sequence's positions that are right, or an example's score."""
    if (right := item.tokens) is not None:
        return f"{100 * float(right[i]):.0f} % right"
    return score(float(item.psnr[i]), ssim)


def show(axes: Axes, example: Array) -> None:
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
