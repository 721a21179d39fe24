"""What a result says of an attack: its scores, their spread over the batch, baselines, and how it came about.

What a clock measures is apart, in a file of its own: everything else is the same bytes on every machine.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attacks.leakage.parts.baselines import baselines
from ..attacks.leakage.parts.metrics import Scores, artefact_of, score
from ..core.observation import Progress, Reconstruction, Truth
from .spread import spread

SHARES = (("psnr", 20.0, "psnr_above_20"), ("mse", 1e-3, "mse_below_1e-3"), ("mse", 1e-4, "mse_below_1e-4"))
_ERRORS = ("psnr", "ssim", "mse")
_TOKENS = ("token_accuracy", "rouge_1", "rouge_2", "rouge_l", "token_precision", "token_recall")


def scored(
    found: Reconstruction, truth: Truth | None, value_range: tuple[float, float], stream: np.random.Generator
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a result's tensors and what its report says of them; without a truth, no score is known.

    Where a client's defense altered its examples, ``trained_on`` scores beside what it made of them.

    Examples stand in the truth's order. So do those of every step that the attack kept (``steps``), each
    matched as if it had ended there.

    Args:
        found: What the attack rebuilt.
        truth: What the client trained on, if that is known.
        value_range: The least and the largest value that an input can take.
        stream: Draws the baselines.
    """
    artefact, size = artefact_of(found), len(found.x)
    if truth is None:
        tensors, each, accuracy = {"x": found.x, "y": found.y}, _unknown(artefact, size), None
        besides: dict[str, Any] = {"truth_known": False}
    else:
        scores = score(found, truth, value_range)
        tensors = {"x": found.x[scores.order], "y": found.y[scores.order], "truth": truth.x}
        tensors["labels"] = truth.y
        each, accuracy = _each(scores, artefact), scores.label_accuracy
        guesses = baselines(truth, stream, value_range)
        besides = {"baselines": {name: _means(_each(s, artefact), artefact) for name, s in guesses.items()}}
        if truth.altered is not None:
            besides["trained_on"] = _each(score(found, truth.trained(), value_range), artefact)
    steps, progress = _came_about(found, truth, value_range)
    report = {
        "artefact": artefact,
        **each,
        "label_accuracy": accuracy,
        "summary": {name: spread(each[name], name) for name in _names(artefact)},
        "shares": _shares(each, artefact),
        **besides,
        "cost": _finite(found.cost),
        "stopped": found.stopped,
        "closures": _finite(found.details.get("closures", np.nan)),
        "details": {name: _finite(value) for name, value in found.details.items()},
        **progress,
    }
    return {**tensors, **steps}, report


def timed(spent: float, progress: Progress | None = None) -> dict[str, Any]:
    """Return what a clock measured: CPU seconds of the attack's own thread, and at each step that it kept."""
    kept = {} if progress is None else {"progress": list(progress.seconds)}
    return {"cpu_seconds": spent, **kept}


def _came_about(
    found: Reconstruction, truth: Truth | None, value_range: tuple[float, float]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the inputs of the steps that an attack kept [S, B, ...], and their figures."""
    progress = found.progress
    if progress is None:
        return {}, {}
    steps, level = [progress.x[s] for s in range(len(progress.x))], [float("nan")] * len(progress.x)
    if truth is not None:
        made = [
            score(Reconstruction(x, found.y, 0.0, (), "", {}, found.artefact), truth, value_range)
            for x in steps
        ]
        steps = [x[scores.order] for x, scores in zip(steps, made, strict=True)]
        level = [float(scores.psnr.mean()) for scores in made]
    figures = {
        "psnr": [_finite(value) for value in level],
        "cost": [_finite(value) for value in progress.cost],
        "closures": list(progress.closures),
    }
    return {"steps": torch.stack(steps)}, {"progress": figures}


def _names(artefact: str) -> tuple[str, ...]:
    return _TOKENS if artefact == "tokens" else _ERRORS


def _each(scores: Scores, artefact: str) -> dict[str, list[Any]]:
    """Return each score of each example; None where it is none."""
    found = {name: getattr(scores, name).tolist() for name in (*_ERRORS, "within_tolerance")}
    if artefact == "tokens":
        right, parts = scores.token_accuracy, (*scores.rouge.unbind(dim=1), *scores.overlap.unbind(dim=1))
        found |= {name: values.tolist() for name, values in zip(_TOKENS, (right, *parts), strict=True)}
        found["exact"] = (right == 1).tolist()
    return {name: [_finite(v) if isinstance(v, float) else v for v in vs] for name, vs in found.items()}


def _unknown(artefact: str, size: int) -> dict[str, list[Any]]:
    more = (*_TOKENS, "exact") if artefact == "tokens" else ()
    return {name: [None] * size for name in (*_ERRORS, "within_tolerance", *more)}


def _means(each: Mapping[str, list[Any]], artefact: str) -> dict[str, float | None]:
    return {name: spread(each[name], name)["mean"] for name in _names(artefact)}


def _shares(each: Mapping[str, list[Any]], artefact: str) -> dict[str, float | None]:
    """Return the share of examples that came so close; of tokens, that are exact."""
    if artefact == "tokens":
        right = each["exact"]
        return {"exact": None if None in right else float(np.mean(right))}
    found: dict[str, float | None] = {}
    for score_name, bound, name in SHARES:
        values = each[score_name]
        near = [
            value > bound if score_name == "psnr" else value < bound for value in values if value is not None
        ]
        found[name] = float(np.mean(near)) if len(near) == len(values) else None
    return found


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
