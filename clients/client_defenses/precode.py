"""PRECODE: a variational bottleneck in the model, whose noise blurs the gradients of what comes after it.

Source: Scheliga, Maeder, Seeland. PRECODE: A Generic Model Extension to Prevent Deep Gradient Leakage. WACV
2022, arXiv:2108.04725, and the authors' code. The attacker: Scheliga, Maeder, Seeland. Combining Variational
Modeling with Partial Gradient Perturbation to Prevent Deep Gradient Leakage. arXiv:2208.04767 (abstract):
leave the gradients of the bottleneck and of what follows it out of the distance.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, log
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .parts.layers import linear_layer


@dataclass(frozen=True)
class Precode:
    """Put a variational bottleneck before a linear layer of everybody's model.

    It encodes the layer's input into a mean and a spread of ``width`` numbers each, draws from that
    distribution in training, and decodes the draw. The loss gains beta times its divergence from N(0, 1), in
    bits, the mean over the batch; it enters through the gradient, so that losses that are reported are those
    of the task alone. In evaluation the mean is taken: the server scores a model without noise (our choice;
    the authors draw there, too).

    A client's examples go through the bottleneck one at a time in training (no stack), since it draws random
    numbers of its own.

    Attributes:
        width: The paper's K, at least 1.
        beta: Weight of the divergence, at least 0.
        layer: The path of a linear layer; by default ("") the last one.
    """

    width: int = 256
    beta: float = 1e-3
    layer: str = ""

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[tuple[Mapping[str, object], ...]] = (
        {"name": "bayes", "likelihood": "direction", "skip": ("precode", "precoded")},
        {"name": "bias_trick"},
    )

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")
        if not (self.beta >= 0 and isfinite(self.beta)):
            raise ValueError(f"beta must be at least 0 and finite, got {self.beta}")

    def wrap(self, model: nn.Module) -> nn.Module:
        name, layer = linear_layer(model, self.layer, "PRECODE")
        bottleneck = Bottleneck(layer.in_features, self.width, self.beta)
        both = nn.Sequential(OrderedDict(precode=bottleneck, precoded=layer))
        if not name:
            return both
        model.set_submodule(name, both)
        return model


class Bottleneck(nn.Module):
    """From features [B, F] to features, through a draw from a normal distribution that they give.

    Attributes:
        encoder: To the means and, under softplus, the standard deviations.
        decoder: From the draw, or in evaluation from the means.
    """

    def __init__(self, features: int, width: int, beta: float) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(features, 2 * width), nn.Linear(width, features)
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = self.encoder(x).chunk(2, dim=-1)
        std = functional.softplus(spread)
        weight = _Once(self.beta / max(1, len(x)))
        mean, std = _Penalised.apply(mean, std, weight)  # type: ignore[no-untyped-call]
        draw = mean + std * torch.randn_like(std) if self.training else mean + 0 * std
        return self.decoder(draw)  # type: ignore[no-any-return]


class _Once:
    """A number that is there once; an object, which ``torch.func`` hands on as it is."""

    def __init__(self, value: float) -> None:
        self._value = value

    def taken(self) -> float:
        """Return the number; 0 from the second time on."""
        value, self._value = self._value, 0.0
        return value


class _Penalised(torch.autograd.Function):
    """Hand on means and standard deviations, and add to their gradients those of a divergence, once.

    Of D = weight sum (mean^2 + std^2 - 1 - 2 log std) / 2 / ln 2: weight mean / ln 2, and
    weight (std - 1 / std) / ln 2. Whoever differentiates that gradient once more comes by here a second time,
    with what is no gradient of the loss, and nothing is added.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, std: Tensor, _: "_Once") -> tuple[Tensor, Tensor]:
        return mean.clone(), std.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, "_Once"], _: Any) -> None:
        mean, std, ctx.weight = inputs
        ctx.save_for_backward(mean, std)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        mean, std = ctx.saved_tensors
        scale = ctx.weight.taken() / log(2)
        return gradients[0] + scale * mean, gradients[1] + scale * (std - 1 / std.clamp(min=1e-6)), None
