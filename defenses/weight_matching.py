"""Weight matching: order every client's hidden units as the reference's are, before models are averaged.

Source: Ainsworth, Hayase, Srinivasa. Git Re-Basin: Merging Models modulo Permutation Symmetries. ICLR 2023,
Algorithm 1. arXiv:2209.04836. Looked at more closely by Ito et al., Analysis of Linear Mode Connectivity via
Permutation-Based Weight Matching, arXiv:2402.04051 (abstract; authors unverified).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.updates import Updates
from .parts.screening import needed, stream
from .parts.unit_chains import Chain, chain_of

_GAIN = 1e-9  # of the objective, relative: less is rounding


@dataclass(frozen=True)
class WeightMatching:
    """Permute the hidden units of each model x + u_i so that its weights lie near the reference's.

    A permuted model computes the same, but models that share no start can then be averaged: for one round,
    or few. Layer by layer, in random order until none gains: the assignment of units that maximises the inner
    product of all weights that it touches, the layer's own rows, its biases, and the next layer's columns.
    For chains of linear and convolutional layers without normalisation; a model without hidden units stays
    as it is. Scores of clients are none. The scaling symmetry of ReLU is not undone, and what a layer skips
    over (a residual stream) must not exist: recurrent layers, blocks and adapters are refused by their
    names, but neither names nor shapes tell of every way around a layer.

    Attributes:
        mode: ``"reference"``: everybody is matched to the client of lowest id. ``"mean"``: to the mean of
            the others, one after the other, after that.
        sweeps: How often everybody is matched to the mean of the others, at least 1.
        max_iters: Passes over the layers at most, at least 1.
    """

    mode: Literal["reference", "mean"] = "reference"
    sweeps: int = 3
    max_iters: int = 20

    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.mode not in ("reference", "mean"):
            raise ValueError(f"mode must be reference or mean, got {self.mode!r}")
        for name in ("sweeps", "max_iters"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        """Return the same clients, whose hidden units are ordered alike."""
        context = needed(updates, "weight_matching", "the layers of the model")
        chain = chain_of(context.layout, "weight_matching")
        if len(updates) < 2 or not chain.hidden:
            return updates, state
        draw = stream(updates, "weight matching")
        models = updates.vectors.double() + context.params.double()  # [K, P]
        for row in range(1, len(models)):
            models[row] = matched(chain, models[0], models[row], draw, self.max_iters)
        for _ in range(self.sweeps if self.mode == "mean" else 0):
            for row in range(len(models)):
                others = (models.sum(dim=0) - models[row]) / (len(models) - 1)
                models[row] = matched(chain, others, models[row], draw, self.max_iters)
        return updates.with_vectors((models - context.params.double()).to(updates.vectors.dtype)), state


def matched(
    chain: Chain, reference: Tensor, model: Tensor, draw: np.random.Generator, max_iters: int = 20
) -> Tensor:
    """Return a model [P], its hidden units permuted to lie nearest to the reference's [P].

    Args:
        chain: The layers of both.
        reference: What it is matched to.
        model: The model.
        draw: What the order of layers is drawn from.
        max_iters: Passes over the layers at most.
    """
    from scipy.optimize import linear_sum_assignment

    for _ in range(max_iters):
        gained = False
        for layer in draw.permutation(len(chain.hidden)).tolist():
            products = chain.products(layer, reference, model).numpy()  # [n, n]
            _, order = linear_sum_assignment(products, maximize=True)
            now, best = np.trace(products), products[np.arange(len(order)), order].sum()
            if best - now > _GAIN * max(1.0, abs(now)):
                model, gained = chain.permuted(layer, model, torch.from_numpy(order)), True
        if not gained:
            break
    return model
