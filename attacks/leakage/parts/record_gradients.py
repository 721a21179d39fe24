"""Gradients of records that an attacker has, at the model that a client received."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from ....core.leakage_knowledge import Records
    from ....core.observation import Observation


def gradients_of_records(observation: Observation, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of each example's loss, together where the model allows it.  # [n, P]

    It works on a copy of the model in evaluation mode: the observation's own stays as it is.
    """
    own, loss = _loss_of(observation)

    def alone(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(values, x[None], y[None])

    one = grad(alone)
    try:
        found = vmap(one, in_dims=(None, 0, 0))(own, x, y)
    except (RuntimeError, NotImplementedError):  # an operation that vmap does not know: one at a time
        each = [one(own, a, b) for a, b in zip(x, y, strict=True)]
        found = {name: torch.stack([g[name] for g in each]) for name in own}
    return torch.cat([found[name].flatten(1) for name in own], dim=1)


def gradients_of_batches(observation: Observation, batches: Sequence[Records]) -> Tensor:
    """Return the gradient of the mean loss of each batch.  # [n, P]"""
    own, loss = _loss_of(observation)
    found = [grad(loss)(own, batch.x, batch.y) for batch in batches]
    return torch.stack([torch.cat([g[name].flatten() for name in own]) for g in found])


def attacked_copy(observation: Observation) -> nn.Module:
    """Return a copy of the observed model, in evaluation mode."""
    return copy.deepcopy(observation.model).eval()


def losses(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each example, over all its positions.  # [n]"""
    outputs = model(x)
    each = functional.cross_entropy(outputs.flatten(0, -2), y.flatten(), reduction="none")
    return each.reshape(len(x), -1).mean(dim=1)


def _loss_of(observation: Observation) -> tuple[dict[str, Tensor], Callable[..., Tensor]]:
    """Return the model's parameters by name, and the mean loss as a function of them, x and y."""
    model = attacked_copy(observation)
    named = dict(model.named_parameters())
    own = {slot.name: named[slot.name].detach() for slot in observation.layout.parameters}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return losses(lambda z: functional_call(model, values, (z,)), x, y).mean()

    return own, loss
