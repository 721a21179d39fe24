"""Trap weights: a first layer of which few examples activate a row, so that many rows hold one example alone.

Half of each row's weights, at random places, are -|N(0, sigma^2)|; the other half are those, with their sign
turned, times a factor below 1. So an example whose values are not negative comes to a sum below 0 in most
rows, and rows whose ReLU one example alone passes give it away: their weights' gradient over their bias's.

Source: Boenisch, Dziedzic, Schuster, Shamsabadi, Shumailov, Papernot. When the Curious Abandon Honesty:
Federated Learning Is Not Private. EuroS&P 2023 (its trap weights). arXiv:2112.02918
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TrapWeights:
    """Set the trap into the model's first layer, which must be linear with a bias; a fresh one every round.

    The model's layers stay as they are. Biases are set to 0.

    Attributes:
        scale: What the positive weights are to the negative ones, between 0 and 1 (excluded). Lower: fewer
            examples pass.
        std: The weights' standard deviation before they are folded, sigma, above 0.
    """

    scale: float = 0.95
    std: float = 0.5

    deviates: ClassVar[str] = "parameters"

    def __post_init__(self) -> None:
        if not 0 < self.scale < 1:
            raise ValueError(f"scale must be between 0 and 1, got {self.scale}")
        if self.std <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")

    def rebuild(self, model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        name, shape = _first_layer(model)
        return model, {"layer": name, "shape": shape}

    def init(self, secret: Any) -> tuple[int, int]:
        rows, width = secret["shape"]
        return rows, width

    def plant(
        self, params: Tensor, state: tuple[int, int], generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Any], tuple[int, int]]:
        rows, width = state
        negative = width - width // 2
        drawn = -np.abs(generator.standard_normal((rows, negative))) * self.std
        positive = -self.scale * generator.permuted(drawn[:, : width // 2], axis=1)
        trap = generator.permuted(np.concatenate([drawn, positive], axis=1), axis=1)  # [H, D]
        layer = torch.cat([torch.from_numpy(trap.reshape(-1)).float(), torch.zeros(rows)])
        return torch.cat([layer, params[len(layer) :]]), {}, state


def _first_layer(model: nn.Module) -> tuple[str, tuple[int, int]]:
    """Return the name and the shape of the first layer, whose weight and bias are the first parameters.

    Raises:
        ValueError: It is not linear, or has no bias, or is not trained.
    """
    owners = ((n, m) for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None)
    name, first = next(owners, ("", model))
    linear = isinstance(first, nn.Linear) and first.bias is not None
    if not (isinstance(first, nn.Linear) and linear and all(p.requires_grad for p in first.parameters())):
        raise ValueError(
            f"it needs a trainable linear first layer with a bias, the model begins with {first}"
        )
    return name, (first.out_features, first.in_features)
