"""Inputs of a linear layer as ratios of its gradients: where one example alone moves a row, x = dW / db."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ....core.observation import Observation

CLEAR = 6.0  # standard deviations of its rounding from which on a bias's gradient is taken to be there
_MEDIAN = 0.5147  # of the squared difference of two roundings, in units of its mean: 6 (1 - sqrt(1 / 2))^2


@dataclass(frozen=True)
class Ratios:
    """What rows say of the layer's inputs, those alone whose bias moved at all, in their order.

    Attributes:
        x: The ratios, float64.  # [n, D]
        weight: How far each bias moved.  # [n]
        predicted_mse: The mean squared error that the rounding of float32 alone leaves in x, as its median
            over roundings: those of weights are many and average out, a bias's is one for all of x.  # [n]
        rows: Which rows they are.  # [n]
    """

    x: Tensor
    weight: Tensor
    predicted_mse: Tensor
    rows: Tensor

    def only(self, keep: Tensor) -> Ratios:
        """Return those where ``keep`` [n] is true, or that it names."""
        return Ratios(self.x[keep], self.weight[keep], self.predicted_mse[keep], self.rows[keep])


def ratios(slopes: Tensor, offsets: Tensor, slope_var: Tensor, offset_var: Tensor) -> Ratios:
    """Return the ratios of rows that moved by more than their rounding.

    Args:
        slopes: What each row's weights moved by, up to one factor for all, float64.  # [k, D]
        offsets: What its bias moved by, likewise.  # [k]
        slope_var, offset_var: The variances of their roundings, in the same units.  # [k, D], [k]
    """
    there = offsets.abs() > CLEAR * offset_var.sqrt()
    d, rows = offsets[there], there.nonzero().flatten()
    x = slopes[there] / d[:, None]  # [n, D]
    noise = slope_var[there] + _MEDIAN * offset_var[there, None] * x.square()
    return Ratios(x, d.abs(), noise.mean(dim=1) / d.square(), rows)


def inside(found: Ratios, value_range: tuple[float, float]) -> Tensor:
    """Return which ratios an input can be: within the range, up to what rounding leaves, bool.  # [n]"""
    low, high = value_range
    slack = CLEAR * found.predicted_mse.sqrt()[:, None] + 1e-6 * (
        high - low if math.isfinite(high - low) else 1.0
    )
    return ((found.x >= low - slack) & (found.x <= high + slack)).all(dim=1) & found.x.isfinite().all(dim=1)


def batch_of(rows: Tensor, observation: Observation) -> Tensor:
    """Return rebuilt rows [n, D] as the batch that is asked for, float32.  # [B, *input_shape]

    What is too many is left out from the end; what is missing is their mean, or the middle of the range.
    """
    low, high = observation.value_range
    middle = (low + high) / 2 if math.isfinite(high - low) else 0.0
    size, width = observation.knowledge.batch_size or max(len(rows), 1), math.prod(observation.input_shape)
    rows = rows[:size].clamp(low, high)
    rest = rows.mean(dim=0) if len(rows) else torch.full((width,), middle, dtype=torch.float64)
    whole = torch.cat([rows, rest.expand(size - len(rows), width)])
    return whole.float().reshape(size, *observation.input_shape)
