"""How an attack trains a model that it sees: plain gradient descent in batches, on losses of its own."""

from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import LocalTraining

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(params [P], rows) -> []``: the loss of some examples."""


def epochs_of(training: LocalTraining, num_examples: int) -> int:
    """Return how many passes an honest client makes, a part of one rounded up."""
    if training.local_steps is None:
        return training.local_epochs
    return ceil(training.local_steps * (training.batch_size or num_examples) / num_examples)


def descend(
    loss: Loss,
    params: Tensor,
    num_examples: int,
    batch_size: int,
    epochs: int,
    lr: float,
    stream: np.random.Generator,
    moving: Tensor | None = None,
) -> Tensor:
    """Return the parameters after some passes, each in a fresh order.  # [P]

    A batch of a single example is left out where there are others. ``moving`` says which parameters are
    trained, bool; by default all.  # [P]
    """
    for _ in range(epochs):
        order = torch.from_numpy(stream.permutation(num_examples))
        for first in range(0, num_examples, batch_size):
            rows = order[first : first + batch_size]
            if len(rows) > 1 or num_examples == 1:
                params = step(loss, params, rows, lr, moving)
    return params


def step(loss: Loss, params: Tensor, rows: Tensor, lr: float, moving: Tensor | None = None) -> Tensor:
    """Return the parameters after one step.  # [P]"""
    with torch.enable_grad():
        at = params.clone().requires_grad_()
        slope = torch.autograd.grad(loss(at, rows), at)[0]
    return params - lr * (slope if moving is None else slope * moving)
