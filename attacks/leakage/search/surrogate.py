"""The gradients that dummy examples would give at a point between where a client began and where it ended.

Source: Zhu, Yao, Blaschko. Surrogate Model Extension (SME): A Fast and Accurate Weight Update Attack on
Federated Learning. ICML 2023. arXiv:2306.00127
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ....core.observation import Observation
from .gradients import attacked_model

SurrogateGradients = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From examples [R, B, ...], labels [B] and places alpha [R] to the gradients of the mean loss [R, P]."""


def surrogate_gradients_of(observation: Observation) -> SurrogateGradients:
    """Return the gradient of the mean cross-entropy at theta_0 + alpha * update.

    It works on ``attacked_model``; several searches are one vectorised computation.
    """
    model = attacked_model(observation)
    named = dict(model.named_parameters())
    begin = {slot.name: named[slot.name].detach() for slot in observation.layout.parameters}
    way = {
        name: value.to(begin[name]) for name, value in observation.layout.views(observation.update).items()
    }

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, values, (x,)), y)

    def gradient(x: Tensor, y: Tensor, alpha: Tensor) -> Tensor:
        there = {name: value + alpha * way[name] for name, value in begin.items()}
        found = grad(loss)(there, x, y)
        return torch.cat([found[name].flatten() for name in begin])  # [P]

    def gradients(x: Tensor, y: Tensor, alpha: Tensor) -> Tensor:
        if len(x) == 1:
            return gradient(x[0], y, alpha[0])[None]
        return vmap(gradient, in_dims=(0, None, 0))(x, y, alpha)

    return gradients
