"""LoRA: a frozen model whose linear layers get adapters of low rank, and only these are trained and travel.

Source: Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen. LoRA: Low-Rank Adaptation of Large Language Models.
ICLR 2022. arXiv:2106.09685. ``start = "lora_ga"``: Wang, Yu, Li. LoRA-GA. NeurIPS 2024. arXiv:2407.05000.
``gradient = "lora_pro"``: Wang, Liang, He, Wang, Tan. LoRA-Pro. ICLR 2025. arXiv:2407.18242. ``base =
"nf4"``: Dettmers, Pagnoni, Holtzman, Zettlemoyer. QLoRA. NeurIPS 2023. arXiv:2305.14314
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..codecs.parts.normal_float import coded, decoded
from .build import net_of
from .low_rank_adapters import Pro, gradient_factors
from .named_layers import check_patterns, is_named, linear_layers, listed

BLOCK = 64  # weights that share a scale in QLoRA


@dataclass(frozen=True)
class Lora:
    """Train y = (W + s B A) x + bias with W and bias as they are, s = alpha / rank.

    A [r, n] begins uniform within 1 / sqrt(n), B [m, r] at zero. ``model.init`` may name a file of the
    model's own weights, without adapters: a pretrained one. Names are those of the model, with
    ``lora_down`` (A) and ``lora_up`` (B) below each layer. Each layer exchanges r (m + n) numbers in the
    place of m n.

    Attributes:
        of: The model, by name or as a table of ``name`` and its options.
        rank: r, at least 1. A layer of fewer inputs or outputs has an adapter of as many.
        alpha: Above 0; the paper's.
        targets: Patterns (``*query``) of the names of layers, of which those that are ``nn.Linear`` are
            adapted.
        trained: Patterns of the names of parameters that are trained and sent besides, whole (``head.*``);
            their layers are not adapted.
        start: ``"standard"``, or ``"lora_ga"``: A and B from the singular vectors of the gradient of W on the
            server's own examples (``root_examples``), which are no client's; what s B A is then is taken off
            W, so that the model's outputs are the same. A client can do that by itself: A and B are what it
            receives in round 0.
        gamma: LoRA-GA's, above 0: the smaller, the larger both factors. 16 is the paper's.
        gradient: ``"plain"``, or ``"lora_pro"``: as a step on W itself as far as factors can follow. Until B
            has full rank its inverse has a ridge (ours).
        base: ``"fp32"``, or ``"nf4"``: adapted layers' W is rounded to what 4-bit NormalFloat can hold, as
            clients would keep it. Their memory here stays that of float32.
        dropout: The share dropped of what goes into an adapter, at least 0 and below 1.
    """

    of: str | dict[str, Any] = "mlp"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("*",)
    trained: tuple[str, ...] = ()
    start: Literal["standard", "lora_ga"] = "standard"
    gamma: float = 16.0
    gradient: Literal["plain", "lora_pro"] = "plain"
    base: Literal["fp32", "nf4"] = "fp32"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        for name in ("alpha", "gamma"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.dropout and self.gradient == "lora_pro":
            raise ValueError("dropout must be 0 with gradient = 'lora_pro', which is a step on W itself")

    def build(self, input_shape: tuple[int, ...], num_classes: int, num_tokens: int = 0) -> nn.Module:
        """Return the model with adapters; its own parameters are drawn first."""
        net = net_of(self.of, input_shape, num_classes, num_tokens).requires_grad_(False)
        if any(isinstance(module, Adapted) for module in net.modules()):
            raise ValueError("of must be a model without adapters, got one of model 'lora'")
        check_patterns(net, self.targets, self.trained)
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(is_named(name, self.trained))
        found = linear_layers(net, self.targets)
        layers = {n: m for n, m in found.items() if not any(p.requires_grad for p in m.parameters())}
        if not layers:
            there = listed(linear_layers(net))
            raise ValueError(f"targets {list(self.targets)} name no frozen linear layer; there are: {there}")
        for name, layer in layers.items():
            adapted = Adapted(layer, self.rank, self.alpha / self.rank, self.gradient, self.dropout)
            if not name:
                return adapted
            net.set_submodule(name, adapted)
        return net

    def settle(self, model: nn.Module, loss: Callable[[nn.Module], Tensor] | None) -> None:
        """Set where adapters begin, and round W. Adapters that were trained before stay.

        Raises:
            ValueError: ``lora_ga`` without examples of the server's own, or of too large a rank.
        """
        layers = [m for m in model.modules() if isinstance(m, Adapted)]
        if self.start == "lora_ga" and not any(bool(layer.lora_up.weight.any()) for layer in layers):
            if loss is None:
                raise ValueError(
                    "start = 'lora_ga' takes the gradient of the server's own examples: root_examples must "
                    "be above 0"
                )
            for layer, gradient in zip(layers, _gradients(model, layers, loss), strict=True):
                layer.begin(*gradient_factors(gradient, layer.lora_down.out_features, self.gamma))
        if self.base == "nf4":
            for layer in layers:
                layer.round()


class Adapted(nn.Linear):
    """A linear layer with an adapter beside it; its own weight and bias are not trained.

    Attributes:
        lora_down: A.  # [r, n]
        lora_up: B.  # [m, r]
        scale: s.
        projected: Whether gradients are those of LoRA-Pro.
        file_may_lack: What a file of the model's own weights does not hold.
    """

    file_may_lack: ClassVar[tuple[str, ...]] = ("lora_down.weight", "lora_up.weight")

    def __init__(self, layer: nn.Linear, rank: int, scale: float, gradient: str, dropout: float) -> None:
        sizes = layer.in_features, layer.out_features
        rank = min(rank, *sizes)
        super().__init__(*sizes, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        self.lora_down, self.lora_up = (
            nn.Linear(sizes[0], rank, bias=False),
            nn.Linear(rank, sizes[1], bias=False),
        )
        nn.init.zeros_(self.lora_up.weight)
        self.scale, self.projected = scale, gradient == "lora_pro"
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        own = functional.linear(x, self.weight, self.bias)
        if self.projected:
            a, b = Pro.apply(self.lora_down.weight, self.lora_up.weight, self.scale)  # type: ignore[no-untyped-call]
            return own + self.scale * functional.linear(functional.linear(x, a), b)
        beside: Tensor = self.lora_up(self.lora_down(self.drop(x)))
        return own + self.scale * beside

    @torch.no_grad()
    def begin(self, a: Tensor, b: Tensor) -> None:
        """Set both factors, and take what they add off the weight."""
        self.lora_down.weight.copy_(a)
        self.lora_up.weight.copy_(b)
        self.weight -= self.scale * self.lora_up.weight @ self.lora_down.weight

    @torch.no_grad()
    def round(self) -> None:
        """Round the weight to 4-bit NormalFloat, in blocks of 64 neighbours; a rounded one stays as it is."""
        row = self.weight.numpy().reshape(1, -1)
        self.weight.copy_(torch.from_numpy(decoded(coded(row, BLOCK), BLOCK)).view_as(self.weight))


def _gradients(
    model: nn.Module, layers: Sequence[Adapted], loss: Callable[[nn.Module], Tensor]
) -> tuple[Tensor, ...]:
    """Return the gradient of each layer's own weight, in evaluation mode.  # [m, n] each"""
    weights, training = [layer.weight for layer in layers], model.training
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            return torch.autograd.grad(loss(model.eval()), weights)
    finally:
        model.train(training)
        for weight in weights:
            weight.requires_grad_(False)
