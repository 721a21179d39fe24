"""The cosine between gradients of a model of linear layers, without building a gradient.

A linear layer's gradient is d^T a, with the examples' inputs a [B, F] and slopes of the loss d [B, O] at its
outputs. So its product with the client's gradient G is the sum of d * (a G^T), and its squared norm that of
(a a^T) * (d d^T): sums over O and B, where a gradient has O F entries.

Source: the norm: Goodfellow. Efficient Per-Example Gradient Computations. 2015. arXiv:1510.01799. That a
matching cost is computed so is ours.
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ....core.observation import Observation
from .distances import cosine
from .gradients import gradients_of
from .layers import NotedModel, path_of

Matching = Callable[[Tensor, Tensor], Tensor]
"""From examples [R, B, ...] and labels, class numbers [B] or probabilities [R, B, C], to costs [R]."""


def ghost_cosine(observation: Observation, target: Tensor) -> Matching | None:
    """Return ``cosine(target)`` of the examples' gradients, or None where it cannot be had like this.

    It can where all parameters are those of linear layers, each used once, on one row an example, and
    examples go their way through the model apart from each other.
    """
    noted = NotedModel(copy.deepcopy(observation.model).eval())
    linear = all(isinstance(layer, nn.Linear) for layer in noted.layers.values())
    if not linear or noted.holds() != {slot.name for slot in observation.layout.parameters}:
        return None
    ghost = _Ghost(noted, observation.layout.views(target / (float(target.double().norm()) or 1.0)))
    return ghost.cost if _agrees(ghost, observation, target) else None


class _Ghost:
    """What the client's gradient [P] is to each linear layer of a model."""

    def __init__(self, noted: NotedModel, wanted: dict[str, Tensor]) -> None:
        self.noted = noted
        self.wanted = {
            name: (wanted[path_of(name, "weight")], wanted.get(path_of(name, "bias")))
            for name in noted.layers
        }

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Return 1 minus the cosine, of each search.  # [R]"""
        along, squares = x.new_zeros(len(x)), x.new_zeros(len(x))
        passes = self.noted.passes(x, y)
        for name, (weight, bias) in self.wanted.items():
            a, d = passes[name].inputs.flatten(2), passes[name].slopes.flatten(2)  # [R, B, F], [R, B, O]
            met = a @ weight.T if bias is None else a @ weight.T + bias
            along = along + (d * met).sum(dim=(1, 2))
            inner = a @ a.mT + (0 if bias is None else 1)  # [R, B, B]
            squares = squares + (inner * (d @ d.mT)).sum(dim=(1, 2))
        return 1 - along / squares.sqrt().clamp(min=1e-30)


def _agrees(ghost: _Ghost, observation: Observation, target: Tensor) -> bool:
    """Return whether costs are those of whole gradients, on two searches of two examples."""
    shape = (2, 2, *observation.input_shape)
    x = torch.arange(math.prod(shape)).float().cos().reshape(shape)
    y = torch.arange(2) % observation.num_classes
    try:
        with torch.enable_grad():
            found = ghost.cost(x, y).detach()
            expected = cosine(target)(gradients_of(observation)(x, y)).detach()
    except Exception:  # a layer that is not used; where more is wrong, whole gradients say so
        return False
    return bool(torch.allclose(found, expected, rtol=0, atol=1e-4))
