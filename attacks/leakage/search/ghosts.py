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
from torch.nn import functional

from ....core.observation import Observation
from .distances import cosine
from .gradients import gradients_of

Matching = Callable[[Tensor, Tensor], Tensor]
"""From examples [R, B, ...] and labels, class numbers [B] or probabilities [R, B, C], to costs [R]."""


def ghost_cosine(observation: Observation, target: Tensor) -> Matching | None:
    """Return ``cosine(target)`` of the examples' gradients, or None where it cannot be had like this.

    It can where all parameters are those of linear layers, each used once, on one row an example, and
    examples go their way through the model apart from each other.
    """
    model = copy.deepcopy(observation.model).eval()
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    held = {
        f"{name}.{leaf}" if name else leaf for name, m in layers.items() for leaf, _ in m.named_parameters()
    }
    if held != {slot.name for slot in observation.layout.parameters}:
        return None
    ghost = _Ghost(model, layers, observation.layout.views(target / (float(target.double().norm()) or 1.0)))
    return ghost.cost if _agrees(ghost, observation, target) else None


class _Ghost:
    """A private copy of a model that notes what its linear layers see and say."""

    def __init__(self, model: nn.Module, layers: dict[str, nn.Linear], wanted: dict[str, Tensor]) -> None:
        self.model, self.seen = model, dict[str, tuple[Tensor, Tensor]]()
        self.wanted = {
            name: (
                wanted[f"{name}.weight" if name else "weight"],
                wanted.get(f"{name}.bias" if name else "bias"),
            )
            for name in layers
        }
        for name, layer in layers.items():
            layer.register_forward_hook(self._noter(name))

    def _noter(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen[name] = (inputs[0], output)

        return note

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Return 1 minus the cosine, of each search.  # [R]"""
        searches, size = x.shape[:2]
        self.seen.clear()
        logits = self.model(x.flatten(0, 1))  # [R B, C]
        labels = y.expand(searches, size) if y.ndim == 1 else y
        loss = functional.cross_entropy(logits, labels.flatten(0, 1), reduction="sum") / size
        outputs = [self.seen[name][1] for name in self.wanted]
        slopes = torch.autograd.grad(loss, outputs, create_graph=True)
        along, squares = x.new_zeros(searches), x.new_zeros(searches)
        for (name, (weight, bias)), slope in zip(self.wanted.items(), slopes, strict=True):
            a = self.seen[name][0].reshape(searches, size, -1)  # [R, B, F]
            d = slope.reshape(searches, size, -1)  # [R, B, O]
            along = along + (d * functional.linear(a, weight, bias)).sum(dim=(1, 2))
            squares = squares + _square(a, d, bias is not None)
        return 1 - along / squares.sqrt().clamp(min=1e-30)


def _square(a: Tensor, d: Tensor, biased: bool) -> Tensor:
    """Return a layer's squared gradient norm, from its inputs [R, B, F] and slopes [R, B, O].  # [R]"""
    if a.shape[1] == 1:  # numbers, which are derived in fewer steps than matrices
        return (a.square().sum(dim=(1, 2)) + biased) * d.square().sum(dim=(1, 2))
    inner = a @ a.mT + biased  # [R, B, B]
    return (inner * (d @ d.mT)).sum(dim=(1, 2))


def _agrees(ghost: _Ghost, observation: Observation, target: Tensor) -> bool:
    """Return whether costs are those of whole gradients, on two searches of two examples and of one."""
    shape = (2, 2, *observation.input_shape)
    x = torch.arange(math.prod(shape)).float().cos().reshape(shape)
    y = torch.arange(2) % observation.num_classes
    whole, gradients = cosine(target), gradients_of(observation)
    try:
        with torch.enable_grad():
            pairs = [
                (ghost.cost(x[:, :size], y[:size]), whole(gradients(x[:, :size], y[:size])))
                for size in (1, 2)
            ]
    except Exception:  # a layer that is not used; where more is wrong, whole gradients say so
        return False
    return all(torch.allclose(*pair, rtol=0, atol=1e-4) for pair in pairs)
