"""What defenses that judge single clients have in common: a weighted sum, and who was left out."""

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Verdict
from ...core.seeds import generator
from ...core.updates import Context, Forward, OwnExamples, Updates, weighted_sum
from .memory import stored


def screened(
    updates: Updates, weights: Tensor, malicious: Tensor | None = None, scores: Tensor | None = None
) -> Verdict:
    """Return sum_i w_i x_i, with a flag for every client that is ``malicious``.

    A sum beyond the range of the updates' type becomes the largest number in it.

    Args:
        updates: The cohort.
        weights: What each update is multiplied by; all 0 where nobody is trusted.  # [K]
        malicious: Who is flagged, bool; nobody by default.  # [K]
        scores: The rule's own scores; NaN for a client that has none.  # [K]
    """
    ids = updates.client_ids
    aggregate = stored(weighted_sum(updates.vectors, weights), updates.vectors.dtype)
    named = [] if malicious is None else ids[malicious].tolist()
    pairs = [] if scores is None else zip(ids.tolist(), scores.tolist(), strict=True)
    return Verdict(
        aggregate,
        weights.to(torch.float64),
        flags=dict.fromkeys(named, "malicious"),
        scores={client_id: score for client_id, score in pairs if score == score},  # not NaN
    )


def uniform(keep: Tensor) -> Tensor:
    """Return equal shares of those who are kept [K], all 0 where nobody is.  # [K]"""
    return keep.to(torch.float64) / max(int(keep.sum()), 1)


def stream(updates: Updates, purpose: str) -> np.random.Generator:
    """Return a defense's own stream for this round; seed 0 and round 0 outside of one."""
    context = updates.context
    return generator(context.seed, purpose, context.round) if context else generator(0, purpose, 0)


def own_classes(context: Context, defense: str) -> tuple[OwnExamples, Forward, int]:
    """Return the server's own examples, what runs models, and C, of models with one output a class.

    Raises:
        ValueError: The server has no examples, or a label is not one class each.
    """
    own, run = context.examples, context.forward
    if own is None or run is None:
        raise ValueError(f"{defense} needs the server's own examples: root_examples must be above 0")
    outputs = run(context.params[None], own.x[:1])[0]  # [1, C]
    if outputs.ndim != 2 or own.y.ndim != 1 or own.y.is_floating_point():
        labels = f"{own.y.dtype} {list(own.y.shape[1:])}".removesuffix(" []")
        raise ValueError(
            f"{defense} needs examples with one class each, and a model with one output a class, got "
            f"labels {labels} and outputs {list(outputs.shape[1:])}"
        )
    return own, run, outputs.shape[1]


def needed(updates: Updates, defense: str, what: str) -> Context:
    """Return what the server knows, or raise ``ValueError`` that says what the defense needs of it."""
    if updates.context is None:
        raise ValueError(f"{defense} needs {what}: updates.context must be given, got None")
    return updates.context
