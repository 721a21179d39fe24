"""What an eavesdropper rebuilt: the client's examples above, the attack's below, the scores under each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
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

    Messages and examples stand in the order in which they were observed: none is chosen for its score. The
    small print says how many were left out.

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
    shown = found[:most_messages]
    table = pd.DataFrame([row for message in shown for row in _rows(message, most_examples)])
    columns = max(min(len(m.item.truth), most_examples) for m in shown)
    figure = new_figure(max(1.05 * columns + 0.6, 5.0), 2.75 * len(shown) + 0.5)
    names = _names(found)
    for part, message in zip(parts_of(figure, rows=len(shown)), shown, strict=True):
        apart = differing([m.item for m in shown if m.label == message.label])
        name = title(message.item, names[message.label, message.seed], apart)
        letters = max(20, int(figure.get_figwidth() * 72 / (0.56 * NORMAL)))
        part.suptitle(fill(name, letters), fontsize=NORMAL, x=0.01, ha="left")
        draw_pairs(part, message.item, columns)
    add_caption(figure, f"{_scale(table)}\n{_missing(found, shown, most_examples)}".strip())
    return figure, table


@dataclass(frozen=True)
class Message:
    """A rebuilt message, and the label and seed of its run."""

    label: str
    seed: int
    item: RebuiltLike


def messages(runs: Sequence[RunLike]) -> list[Message]:
    """Return every rebuilt message, in the order of the runs."""
    return [
        Message(label, run.manifest["seed"], item)
        for label, same in groups(runs).items()
        for run in same
        for item in run.gallery()
    ]


def _names(found: Sequence[Message]) -> dict[tuple[str, int], str]:
    """Return what tells each run's messages from the others': label, seed, both or nothing."""
    runs = list(dict.fromkeys((m.label, m.seed) for m in found))
    labels = [label for label, _ in runs]
    several = len(set(labels)) > 1
    return {
        (label, seed): ", ".join(
            [*([label] if several else []), *([f"seed {seed}"] if labels.count(label) > 1 else [])]
        )
        for label, seed in runs
    }


def _missing(found: Sequence[Message], shown: Sequence[Message], most_examples: int) -> str:
    """Return in one sentence what a gallery leaves out, or nothing."""
    cut = [f"{len(shown)} of {len(found)} messages"] if len(found) > len(shown) else []
    longest = max(len(m.item.truth) for m in shown)
    if longest > most_examples:
        cut.append(f"{most_examples} of up to {longest} examples of a message")
    return f"Drawn: the first {', and the first '.join(cut)}; all are in 'reconstructions'." if cut else ""


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
    level = f", SoK {item.sok}" if item.sok else ""
    return f"{label + ': ' if label else ''}{who}, round {item.round}, client {item.client_id}{level}"


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
    """Draw one message's examples in two rows: true above, rebuilt below with its scores.

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
        return f"label {item.truth_labels[i]}" if item.truth_labels.ndim == 1 else ""
    if (right := item.tokens) is not None:
        return f"{100 * float(right[i]):.0f} % right"
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


def _rows(message: Message, most: int) -> Iterable[Mapping[str, Any]]:
    item = message.item
    pixels, right = _range(item.truth) == (0.0, 1.0), item.tokens
    for i in range(min(len(item.truth), most)):
        yield {
            "label": message.label,
            "seed": message.seed,
            "attack": item.attack,
            "settings": ", ".join(f"{key} = {_said(item.settings, key)}" for key in item.settings),
            "round": item.round,
            "client_id": item.client_id,
            "sok": item.sok,
            "example": i,
            "truth_label": _label(item.truth_labels, i),
            "rebuilt_label": _label(item.labels, i),
            "psnr": float(item.psnr[i]),
            "ssim": float(item.ssim[i]),
            "flat_psnr": _flat_psnr(np.asarray(item.truth[i], float)) if pixels else float("nan"),
            **({} if right is None else {"tokens": float(right[i])}),
        }


def _label(labels: Array, i: int) -> Any:
    """Return an example's label; of several, all in one string."""
    return labels[i] if labels.ndim == 1 else " ".join(map(str, labels[i].ravel()))


def _flat_psnr(example: Array) -> float:
    """Return what a flat picture in the example's own mean colour would score, in dB."""
    space = tuple(range(1, example.ndim)) if example.ndim == 3 else None
    mse = float(example.var(axis=space).mean())
    return -10.0 * float(np.log10(mse)) if mse > 0 else float("inf")


def _scale(table: pd.DataFrame) -> str:
    if "tokens" in table and bool(table["tokens"].notna().all()):
        return "A strip is a sequence of tokens; below it, the share of positions that are right."
    flat = table["flat_psnr"].replace(np.inf, np.nan).dropna()
    if flat.empty:
        return "PSNR in dB: higher is a closer copy."
    scores = " to ".join(dict.fromkeys(f"{value:.1f}" for value in (flat.min(), flat.max())))
    return (
        "PSNR: higher is a closer copy. For scale, a flat picture\n"
        f"in each example's own mean colour scores {scores} dB."
    )
