"""How well scores tell members from others: area under the curve, and hits at few false alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def auc(members: Tensor, others: Tensor) -> float:
    """Return how often a member scores above another one; a tie counts half. NaN of nobody.

    Args:
        members: Scores of members.  # [m]
        others: Scores of the others.  # [n]
    """
    if not len(members) or not len(others):
        return float("nan")
    ordered = others.double().sort().values
    below = torch.searchsorted(ordered, members.double())
    up_to = torch.searchsorted(ordered, members.double(), right=True)
    return float((below + up_to).double().mean() / (2 * len(others)))


def tpr_at(members: Tensor, others: Tensor, fpr: float) -> float:
    """Return the share of members above a threshold that at most a share ``fpr`` of the others is above.

    NaN where there are fewer than 1 / ``fpr`` others: one of them alone would be more.
    """
    if not len(members) or len(others) * fpr < 1 - 1e-9:
        return float("nan")
    allowed = int(len(others) * fpr + 1e-9)
    threshold = others.double().sort(descending=True).values[allowed : allowed + 1]
    return float((members.double() > threshold).double().mean()) if len(threshold) else 1.0
