"""How little a message fits the gradients of dummy examples, where it is known how it was blurred.

Each is -log p(message | examples), times 2 / P and up to a constant, with the unknown size of the blur set to
what makes the message likeliest: the logarithm of the residual, which falls without end at the truth.

Source: Balunovic, Dimitrov, Staab, Vechev. Bayesian Framework for Gradient Leakage. ICLR 2022, Section 3 (a
distance a noise). arXiv:2111.04706. That the size of the blur is maximised out is ours, and so is
``orthogonal``.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ....core.layout import Layout
from .distances import Distance, cosine, squared

Likelihood = Literal["gaussian", "laplace", "direction", "orthogonal"]
LIKELIHOODS: tuple[Likelihood, ...] = ("gaussian", "laplace", "direction", "orthogonal")
_LEAST = 1e-14  # of a mean residual, below what float32 tells apart


def misfit(likelihood: Likelihood, target: Tensor, counts: Tensor, layout: Layout) -> Distance:
    """Return how little gradients [R, P] fit a message, one number a search, the less the better.

    Args:
        likelihood: ``"gaussian"`` noise; ``"laplace"`` noise, or noise on some entries alone;
            ``"direction"``: the size says nothing; ``"orthogonal"``: every tensor is as long as the
            gradient's and orthogonal to it.
        target: The gradient G that was sent.  # [P]
        counts: Which entries count.  # [P]
        layout: Where tensors lie.
    """
    if likelihood == "orthogonal":
        return _orthogonal(target, counts, layout)
    if likelihood == "laplace":
        return _log(_absolute(target, counts), 2.0)
    return _log((squared if likelihood == "gaussian" else cosine)(target, counts), 1.0)


def _log(distance: Distance, factor: float) -> Distance:
    return lambda gradients: factor * distance(gradients).clamp(min=_LEAST).log()


def _absolute(target: Tensor, counts: Tensor) -> Distance:
    """Return sum |g - G| / sum |G|."""
    scale = float((target * counts).abs().sum()) or 1.0
    return lambda gradients: ((gradients - target) * counts).abs().sum(dim=1).div(scale)


def _orthogonal(target: Tensor, counts: Tensor, layout: Layout) -> Distance:
    """Return the mean over tensors of log(||g|| / ||G||)^2 + cos(g, G)^2."""
    parts = [slice(s.start, s.start + s.size) for s in layout.parameters]
    parts = [p for p in parts if bool(counts[p].all()) and float(target[p].norm()) > 0]

    def distance(gradients: Tensor) -> Tensor:
        terms = [_apart(gradients[:, p], target[p]) for p in parts]
        return torch.stack(terms).mean(dim=0) if terms else gradients.sum(dim=1) * 0 + 1

    return distance


def _apart(gradients: Tensor, target: Tensor) -> Tensor:
    lengths, length = gradients.norm(dim=1).clamp(min=1e-12), target.norm()
    ratio: Tensor = (lengths / length).log()
    along: Tensor = gradients @ target / (lengths * length)
    return ratio.square() + along.square()


def counted(target: Tensor, layout: Layout, masked: bool, skip: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Return which entries of a message count [P], and which of ``skip`` names no tensor.

    Args:
        target: What was sent.  # [P]
        layout: Where tensors lie.
        masked: Whether entries that are 0 count for nothing.
        skip: Parts of paths: a tensor whose path has one of them between its dots counts for nothing.
    """
    counts = target != 0 if masked else torch.ones(len(target), dtype=torch.bool)
    unknown = list(skip)
    for slot in layout.parameters:
        hit = set(slot.name.split(".")) & set(skip)
        if hit:
            counts[slot.start : slot.start + slot.size] = False
            unknown = [name for name in unknown if name not in hit]
    return counts, unknown
