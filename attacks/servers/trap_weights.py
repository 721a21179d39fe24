"""Trap weights: a first layer of which few examples activate a row, so that many rows hold one example alone.

Half of each row's weights, at random places, are -|N(0, sigma^2)|; the other half are those, with their sign
turned, times a factor below 1. So an example whose values are not negative comes to a sum below 0 in most
rows, and a row whose ReLU one example alone passes gives it away: its weights' gradient over its bias's.

Source: Boenisch, Dziedzic, Schuster, Shamsabadi, Shumailov, Papernot. When the Curious Abandon Honesty:
Federated Learning Is Not Private. EuroS&P 2023 (its trap weights). arXiv:2112.02918. The biases, which take
back what a normalisation before the layer subtracts, are ours.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TrapWeights:
    """Set the trap into the model's first layer, which must be linear with a bias; a fresh one every round.

    The model's layers stay as they are.

    Attributes:
        scale: What the positive weights are to the negative ones, between 0 and 1 (excluded). Lower: fewer
            examples pass. The more values an example has, the nearer to 1 it must be.
        std: The weights' standard deviation before they are folded, sigma, above 0.
        input_shape: The shape of one example; needed where the model does not take a flat one.
    """

    scale: float = 0.7
    std: float = 0.5
    input_shape: tuple[int, ...] | None = None

    deviates: ClassVar[str] = "parameters"

    def __post_init__(self) -> None:
        if not 0 < self.scale < 1:
            raise ValueError(f"scale must be between 0 and 1, got {self.scale}")
        if not 0 < self.std < inf:
            raise ValueError(f"std must be above 0 and finite, got {self.std}")

    def rebuild(self, model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        name, layer = _first_layer(model)
        entering = _entering(model, layer, self.input_shape or (layer.in_features,))
        return model, {"layer": name, "rows": layer.out_features, "offset": entering}

    def init(self, secret: Any) -> tuple[int, Tensor]:
        return secret["rows"], secret["offset"]

    def plant(
        self, params: Tensor, state: tuple[int, Tensor], generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Any], tuple[int, Tensor]]:
        rows, offset = state
        positive = len(offset) // 2
        drawn = -np.abs(generator.standard_normal((rows, len(offset) - positive))) * self.std
        turned = -self.scale * generator.permuted(drawn[:, :positive], axis=1)
        both = generator.permuted(np.concatenate([drawn, turned], axis=1), axis=1)
        trap = torch.from_numpy(both).float()  # [H, D]
        layer = torch.cat([trap.reshape(-1), -trap @ offset])
        return torch.cat([layer, params[len(layer) :]]), {}, state


def _first_layer(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name of the first layer, whose weight and bias are the first parameters, and the layer.

    Raises:
        ValueError: It is not linear, or has no bias, or is not trained.
    """
    owners = ((n, m) for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None)
    name, first = next(owners, ("", model))
    biased = isinstance(first, nn.Linear) and first.bias is not None
    if not (isinstance(first, nn.Linear) and biased and all(p.requires_grad for p in first.parameters())):
        raise ValueError(
            f"it needs a trainable linear first layer with a bias, the model begins with {first}"
        )
    return name, first


def _entering(model: nn.Module, layer: nn.Linear, shape: tuple[int, ...]) -> Tensor:
    """Return what enters the first layer where an example is 0 everywhere: what is subtracted before.  # [D]

    Raises:
        ValueError: The model does not take an example of this shape.
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    except (RuntimeError, IndexError):
        seen = []
    finally:
        hook.remove()
    if not seen or seen[0].shape != (1, layer.in_features):
        raise ValueError(f"the model takes no example of shape {list(shape)}: give input_shape")
    return seen[0][0].clone()
