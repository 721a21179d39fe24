"""What an eavesdropper rebuilt: the client's examples, the attack's with their scores, what lies between."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...core.errors import ScenarioError, unknown
from .base import Array, RebuiltLike, RunLike, groups
from .pictures import draw_pairs, draw_steps, steps_of
from .shades import known, range_of
from .style import NORMAL, add_caption, new_figure, parts_of


def reconstructions(
    runs: Sequence[RunLike], most_messages: int = 6, most_examples: int = 8, by: str = "example"
) -> tuple[Figure, pd.DataFrame]:
    """Draw rebuilt examples under the true ones and over the difference, for each attack and message.

    Messages and examples stand in the order in which they were observed, those of the runs' own probes before
    those of ``gauntlet attack``: none is chosen for its score. The small print says how many were left out.

    Args:
        runs: Runs whose messages were observed and attacked.
        most_messages: Messages drawn, at least 1; the first ones.
        most_examples: Examples drawn of each, or steps of the first one, at least 1.
        by: ``"example"``, or ``"iteration"``: how the first example of each message came about.

    Raises:
        ScenarioError: Nothing was rebuilt; or the examples are neither images nor rows of features; or no
            attack kept its steps; or another ``by``.
    """
    if by not in (allowed := ("example", "iteration")):
        raise ScenarioError(unknown("by", by, allowed))
    if most_messages < 1 or most_examples < 1:
        raise ScenarioError(
            f"a gallery shows at least 1 message and 1 example, got {most_messages} and {most_examples}"
        )
    stepwise = by == "iteration"
    found = _found(runs, stepwise)
    shown = found[:most_messages]
    rows = _steps if stepwise else _rows
    table = pd.DataFrame([row for message in shown for row in rows(message, most_examples)])
    figure = _drawn(found, shown, most_examples, stepwise)
    said_below = _STEPWISE if stepwise else _scale(table)
    add_caption(figure, f"{said_below}\n{_missing(found, shown, most_examples, stepwise)}".strip())
    return figure, table


def _found(runs: Sequence[RunLike], stepwise: bool) -> list["Message"]:
    found = messages(runs)
    if not found:
        raise ScenarioError(
            "there is no reconstruction to draw: nothing was rebuilt in these runs; "
            "a run that observes messages and attacks them with a leakage attack has some"
        )
    if stepwise and not (found := [m for m in found if m.item.progress is not None]):
        raise ScenarioError(
            "there is no iteration to draw: no attack of these runs kept its steps; those that search do, "
            "since this version: 'gauntlet attack' attacks what was recorded again"
        )
    return found


def _drawn(found: Sequence["Message"], shown: Sequence["Message"], most: int, stepwise: bool) -> Figure:
    columns, names = _columns(shown, most, stepwise), _names(found)
    figure = new_figure(max(1.05 * columns + 0.6, 5.0), (1.85 if stepwise else 3.3) * len(shown) + 0.5)
    for part, message in zip(parts_of(figure, rows=len(shown)), shown, strict=True):
        apart = differing([m.item for m in shown if m.label == message.label])
        name = title(message.item, names[message.label, message.seed], apart)
        letters = max(20, int(figure.get_figwidth() * 72 / (0.56 * NORMAL)))
        part.suptitle(fill(name, letters), fontsize=NORMAL, x=0.01, ha="left")
        if stepwise:
            draw_steps(part, message.item, columns, most)
        else:
            draw_pairs(part, message.item, columns, difference=True)
    return figure


_STEPWISE = (
    "The first example of each message, as the attack would have returned it after so many evaluations of "
    "its cost, by that cost; PSNR is the mean over the batch."
)


def _columns(shown: Sequence["Message"], most: int, stepwise: bool) -> int:
    if stepwise:
        return 1 + max(len(steps_of(m.item, most)) for m in shown)
    return max(min(len(m.item.truth), most) for m in shown)


@dataclass(frozen=True)
class Message:
    """A rebuilt message, and the label and seed of its run."""

    label: str
    seed: int
    item: RebuiltLike


def messages(runs: Sequence[RunLike]) -> list[Message]:
    """Return every rebuilt message, in the order of the runs: of their own probes, then of later attacks."""
    return [
        Message(label, run.manifest["seed"], item)
        for label, same in groups(runs).items()
        for run in same
        for item in results_of(run)
    ]


def results_of(run: RunLike) -> list[RebuiltLike]:
    """Return what a run's probes rebuilt, then what later attacks did, once where several recorded a message.

    What the same attack made of one message is two results where it was told different things.
    """
    found = list(run.gallery())
    seen = {_identity(one) for one in found}
    for one in run.attacked():
        if (key := _identity(one)) not in seen:
            seen.add(key)
            found.append(one)
    return found


def _identity(one: RebuiltLike) -> tuple[object, ...]:
    told = one.attack, repr(sorted(one.settings.items())), one.sok, *one.oracle
    return *told, one.round, one.client_id, one.rebuilt.tobytes()


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


def _missing(found: Sequence[Message], shown: Sequence[Message], most_examples: int, stepwise: bool) -> str:
    """Return in one sentence what a gallery leaves out, or nothing."""
    cut = [f"{len(shown)} of {len(found)} messages"] if len(found) > len(shown) else []
    longest = max(len(m.item.truth) for m in shown)
    if longest > most_examples and not stepwise:
        cut.append(f"{most_examples} of up to {longest} examples of a message")
    return (
        f"Drawn: the first {', and the first '.join(cut)}; all are in 'reconstructions' and 'attacked'."
        if cut
        else ""
    )


def title(item: RebuiltLike, label: str = "", apart: Mapping[str, Sequence[str]] = {}) -> str:
    """Return which message this is and who rebuilt it; known labels are always named.

    Args:
        item: The message.
        label: Which run it is of, where there are several.
        apart: From attacks to those of their settings that are named.
    """
    told = ["labels_known"] if item.settings.get("labels_known") else []
    keys = dict.fromkeys([*apart.get(item.attack, ()), *told])
    named = ", ".join(f"{key} = {said(item.settings, key)}" for key in keys)
    who = f"{item.attack} ({named})" if named else item.attack
    level = f", SoK {item.sok}" if item.sok else ""
    return f"{label + ': ' if label else ''}{who}, round {item.round}, client {item.client_id}{level}"


def said(settings: Mapping[str, Any], key: str) -> str:
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


def _rows(message: Message, most: int) -> Iterable[Mapping[str, Any]]:
    item = message.item
    pixels, right = known(item) and range_of(item.truth) == (0.0, 1.0), item.tokens
    for i in range(min(len(item.truth), most)):
        yield {
            "label": message.label,
            "seed": message.seed,
            "attack": item.attack,
            "settings": ", ".join(f"{key} = {said(item.settings, key)}" for key in item.settings),
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


_STEP = ("closures", "seconds", "cost", "psnr")


def _steps(message: Message, most: int) -> Iterable[Mapping[str, Any]]:
    item = message.item
    for step in steps_of(item, most):
        yield {
            "label": message.label,
            "seed": message.seed,
            "attack": item.attack,
            "round": item.round,
            "client_id": item.client_id,
            "sok": item.sok,
            **{name: float(getattr(item.progress, name)[step]) for name in _STEP},
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
        "Difference: black where there is none, white at the whole range of values. PSNR: higher is a closer "
        f"copy. For scale, a flat picture in each example's own mean colour scores {scores} dB."
    )
