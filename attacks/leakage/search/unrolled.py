"""What a client's local steps on dummy examples would make, all of them simulated and differentiable.

Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020, and the authors'
code. arXiv:2003.14053. Momentum, weight decay and batches of several sizes are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ....core.observation import Observation
from .gradients import Gradients, attacked_model


@dataclass(frozen=True)
class LocalSGD:
    """A client's local steps of SGD, as ``torch.optim.SGD`` takes them.

    Attributes:
        lr: The step size.
        momentum: What of its last direction a step keeps.
        weight_decay: L2 penalty that a step adds to the gradient.
        batches: The places of the examples that each step takes.
    """

    lr: float
    momentum: float
    weight_decay: float
    batches: Sequence[Sequence[int]]


def descents_of(observation: Observation, how: LocalSGD) -> Gradients:
    """Return from examples [R, B, ...] and labels [B] what local training on them takes from the parameters.

    That is the opposite of an update.  # [R, P] It works on ``attacked_model``; several
    searches are one vectorised computation. Time and memory grow with the number of steps.
    """
    model = attacked_model(observation)
    named = dict(model.named_parameters())
    begin = {slot.name: named[slot.name].detach() for slot in observation.layout.parameters}
    batches = [torch.tensor(batch) for batch in how.batches]

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, values, (x,)), y)

    def descent(x: Tensor, y: Tensor) -> Tensor:
        local, velocity = begin, dict[str, Tensor]()
        for rows in batches:
            found = grad(loss)(local, x[rows], y[rows])
            if how.weight_decay:
                found = {name: g + how.weight_decay * local[name] for name, g in found.items()}
            if how.momentum and velocity:
                found = {name: how.momentum * velocity[name] + g for name, g in found.items()}
            velocity = found
            local = {name: value - how.lr * found[name] for name, value in local.items()}
        return torch.cat([(begin[name] - value).flatten() for name, value in local.items()])

    def descents(x: Tensor, y: Tensor) -> Tensor:
        return descent(x[0], y)[None] if len(x) == 1 else vmap(descent, in_dims=(0, None))(x, y)

    return descents
