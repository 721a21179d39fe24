"""LASA: layer by layer, average the clients whose length and signs are ordinary in that layer.

Source: Xu, Zhang, Hu. Achieving Byzantine-Resilient Federated Learning via Layer-Adaptive Sparsified Model
Aggregation. WACV 2025. arXiv:2409.01435. Reconstruction: that one threshold over the whole update decides
what the sparsifying keeps, and the forms of the score and of the sign balance, are unverified.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.layout import Slot
from ..core.updates import Updates, row_norms, weighted_sum
from .clipping import clip_factors
from .parts.columns import BLOCK_ELEMENTS, column_blocks
from .parts.screening import needed, uniform


@dataclass(frozen=True)
class LASA:
    """Average each layer over the clients that pass two tests in it, after clipping to the median norm.

    The tests look at the sparsified update: at the norm of the layer, and at the share of its positive
    entries among those with a sign. A value passes if it is less than so many standard deviations (over
    the cohort) from the median. What is averaged is not sparsified. A layer that nobody passes stays as
    it is. Scores are the share of layers that a client fails; above one half it is flagged.

    Attributes:
        sparsity: Share of each update's coordinates, the smallest, that the tests do not see, at least 0
            and below 1.
        norm_tolerance: The paper's lambda_n, in standard deviations, above 0.
        sign_tolerance: The paper's lambda_s, likewise.
    """

    sparsity: float = 0.3
    norm_tolerance: float = 1.0
    sign_tolerance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"sparsity must be in [0, 1), got {self.sparsity}")
        for name in ("norm_tolerance", "sign_tolerance"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        layers = needed(updates, "lasa", "the layers of the model").layout.parameters
        vectors = updates.vectors
        lengths = row_norms(vectors)
        factors = clip_factors(lengths, float(lengths.quantile(0.5)))  # [K]
        least = _least_kept(vectors, self.sparsity)
        aggregate, failed = torch.zeros_like(vectors[0]), torch.zeros(len(vectors), dtype=torch.float64)
        for layer in layers:
            keep = self._passes(_columns(vectors, layer), least, factors)
            share = weighted_sum(_columns(vectors, layer), uniform(keep) * factors)
            aggregate[layer.start : layer.start + layer.size] = share.to(vectors.dtype)
            failed += ~keep
        ids, scores = updates.client_ids.tolist(), (failed / len(layers)).tolist()
        flags = {i: "malicious" for i, score in zip(ids, scores, strict=True) if score > 0.5}
        return Verdict(aggregate, flags=flags, scores=dict(zip(ids, scores, strict=True))), state

    def _passes(self, rows: Tensor, least: Tensor, factors: Tensor) -> Tensor:
        """Return who passes both tests in the layer ``rows`` [K, B], bool.  # [K]"""
        squares, positive, negative = np.zeros((3, len(rows)))
        for _, block in column_blocks(rows):
            exact = np.where(np.abs(block) >= least.numpy()[:, None], block, 0).astype(np.float64)
            squares += np.einsum("kp,kp->k", exact, exact)
            positive += (exact > 0).sum(axis=1)
            negative += (exact < 0).sum(axis=1)
        signs = np.maximum(positive + negative, 1)
        balance = torch.from_numpy(0.5 * (1 + (positive - negative) / signs))
        lengths = torch.from_numpy(squares).sqrt() * factors
        return (mz_scores(lengths) < self.norm_tolerance) & (mz_scores(balance) < self.sign_tolerance)


def _columns(vectors: Tensor, layer: Slot) -> Tensor:
    return vectors[:, layer.start : layer.start + layer.size]


def _least_kept(vectors: Tensor, sparsity: float) -> Tensor:
    """Return the least magnitude that each row keeps when its smallest ones go.  # [K]"""
    matrix, size = vectors.detach().numpy(), vectors.shape[1]
    dropped, height = int(sparsity * size), max(1, BLOCK_ELEMENTS // max(1, size))
    least = np.empty(len(matrix), dtype=matrix.dtype)
    for start in range(0, len(matrix), height):
        rows = np.abs(matrix[start : start + height])
        least[start : start + height] = np.partition(rows, dropped, axis=1)[:, dropped]
    return torch.from_numpy(least)


def mz_scores(values: Tensor) -> Tensor:
    """Return each value's distance to the median in standard deviations; 0 where all are equal.  # [K]"""
    apart = (values - values.quantile(0.5)).abs()
    spread = values.std() if len(values) > 1 else values.new_zeros(())
    return apart / spread if float(spread) > 0 else torch.zeros_like(apart)
