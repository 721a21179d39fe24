"""Local SGD of a procedure: the steps that the scenario asks for, along a gradient of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ....core.contracts import Visit


@dataclass(frozen=True, eq=False)
class Batch:
    """One local step's examples.

    Attributes:
        step: Its number, from 0.
        x, y: Inputs and labels or targets.  # [B, ...]
    """

    step: int
    x: Tensor
    y: Tensor


Value = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""From the model and a batch to what is differentiated, [], and the batch's mean loss, []."""


def descend(visit: Visit, value: Value, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return where plain SGD comes to [P], and the mean of its batches' losses [].

    With the mean loss itself as ``value`` these are FedAvg's steps, bit for bit, of a model without dropout.

    Args:
        visit: The client in its round.
        value: What is differentiated in each step.
        start: Where it begins; by default at what was received.  # [P]
    """
    local = (visit.received if start is None else start).clone()
    batches, total = visit.batches(), torch.zeros(())
    for number, rows in enumerate(batches):
        batch = Batch(number, *visit.examples(rows))
        gradient, loss = visit.differentiated(local, lambda model, batch=batch: value(model, batch))  # type: ignore[misc]
        local.add_(gradient, alpha=-visit.training.lr)
        total += loss
    return local, total / len(batches)
