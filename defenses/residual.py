"""Residual-based reweighting: fit a line through each coordinate's sorted values; who is off it counts less.

Source: Fu, Xie, Li, Chen. Attack-Resistant Federated Learning with Residual-based Reweighting. 2019, and the
authors' code. arXiv:1912.11464. Its repeated median: Siegel. Robust regression using repeated medians.
Biometrika 69, 1982. What happens where half of the residuals are 0 is this package's choice.
"""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import torch

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .parts.columns import BLOCK_ELEMENTS, Array
from .parts.screening import uniform

_LEAST = 1e-12  # a spread of residuals that is none


@dataclass(frozen=True)
class Residual:
    """Average updates by the confidence that their coordinates deserve, with extreme values pulled to a line.

    In each coordinate the K values stand over their ranks, and a line is fitted by repeated medians: the
    median over i of the median over j of the slopes, through the median. A value at distance r from the line
    has the confidence min(1, ``clip`` sqrt(2 / K) sqrt(1 - h) / |r / tau|), with tau = 1.4826
    (1 + 5 / (K - 1)) times the median distance (the smallest left out) and h the leverage of its rank; below
    ``threshold`` it is replaced by the line's. A client's weight is the square of its confidences, summed
    over coordinates and weighted by their standard deviation over the clients. Scores are these weights;
    nobody is flagged.

    It weakens where liars are many and agree: eight of twenty at one place have up to a quarter of the
    weight, and half of the cohort has all that it wants. A second matrix like the cohort's is held.

    Attributes:
        clip: lambda, above 0.
        threshold: Confidence below which a value is replaced (the paper's delta), between 0 and 1.
    """

    clip: float = 2.0
    threshold: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.clip < inf or not 0 <= self.threshold <= 1:
            raise ValueError(
                f"clip must be above 0 and finite, threshold in [0, 1], got {self.clip} and {self.threshold}"
            )

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        vectors = updates.vectors
        if len(vectors) < 3:  # every line fits
            weights = uniform(torch.ones(len(vectors), dtype=torch.bool))
            return Verdict(weighted_sum(vectors, weights).to(vectors.dtype), weights), state
        matrix, pulled = vectors.detach().numpy(), torch.empty_like(vectors)
        total, width = np.zeros(len(matrix)), max(1, BLOCK_ELEMENTS // len(matrix) ** 2)
        for start in range(0, matrix.shape[1], width):
            columns = slice(start, start + width)
            confidence, values = self._judged(matrix[:, columns].astype(np.float64))
            total += confidence @ confidence.std(axis=0, ddof=1)
            pulled.numpy()[:, columns] = values
        trust = torch.from_numpy(total / max(total.max(), 1e-300)).square()
        trust = trust / trust.sum() if float(trust.sum()) > 0 else torch.full_like(trust, 1 / len(trust))
        scores = dict(zip(updates.client_ids.tolist(), trust.tolist(), strict=True))
        return Verdict(weighted_sum(pulled, trust).to(vectors.dtype), scores=scores), state

    def _judged(self, values: Array) -> tuple[Array, Array]:
        """Return the confidence in each value of a block, and the values, extreme ones replaced.  # [K, B]"""
        size = len(values)
        ranks, order = np.arange(size), np.argsort(values, axis=0, kind="stable")
        ordered = np.take_along_axis(values, order, axis=0).T  # [B, K]
        line = _line(ordered)
        off = np.abs(ordered - line)
        spread = np.median(np.sort(off, axis=1)[:, 1:], axis=1, keepdims=True)
        tau = np.maximum(1.4826 * (1 + 5 / (size - 1)) * spread, _LEAST)
        apart = (ranks - ranks.mean()) ** 2
        rest = np.sqrt(np.maximum(1 - 1 / size - apart / apart.sum(), 0.0))  # sqrt(1 - h)  # [K]
        bound = self.clip * sqrt(2 / size) * rest
        sure = np.minimum(1.0, bound * tau / np.maximum(off, 1e-200))  # [B, K]; no quotient overflows
        near = np.where(sure >= self.threshold, ordered, line)
        confidence, pulled = np.empty_like(values), np.empty_like(values)
        np.put_along_axis(confidence, order, sure.T, axis=0)
        np.put_along_axis(pulled, order, near.T, axis=0)
        return confidence, pulled


def _line(ordered: Array) -> Array:
    """Return the repeated-median line at every rank, of sorted values [B, K].  # [B, K]"""
    size = ordered.shape[1]
    ranks = np.arange(size)
    others = (ranks[:, None] + np.arange(1, size)) % size  # [K, K - 1]
    slopes = (ordered[:, others] - ordered[:, :, None]) / (others - ranks[:, None])
    slope = np.median(np.median(slopes, axis=2), axis=1)
    line: Array = np.median(ordered, axis=1)[:, None] + slope[:, None] * (ranks - (size - 1) / 2)
    return line
