"""WeLore: layers of low rank become two factors, which alone are trained and travel; the others stay.

Source: Jaiswal, Yin, Zhang, Liu, Zhao, Tian, Wang. From GaLore to WeLore: How Low-Rank Weights Non-uniformly
Emerge from Low-Rank Gradients. arXiv:2407.11239; the abstract was read, and of the authors' public code how
ranks are cut and layers replaced. That one threshold is found for a wanted share, where theirs are listed by
model, and its use among federated clients, are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .build import net_of
from .named_layers import check_patterns, is_named, linear_layers, listed


@dataclass(frozen=True)
class Welore:
    """Train y = B A x + bias in the layers that singular values call low-rank; all others stay as they are.

    Looked at are the weights that a run begins with, those of ``model.init`` or drawn ones, and nobody's
    data. Of a layer [m, n] with rank r, A [r, n] and B [m, r] are its r first singular vectors, each times
    the roots of their values; it exchanges r (m + n) numbers in the place of m n. Names are those of
    ``lora``, ``lora_down`` (A) and ``lora_up`` (B), so that defense ``lora_product`` and attacks read them.
    An export begins another run with the ranks that it has.

    Attributes:
        of: The model, by name or as a table of ``name`` and its options.
        reduction: The share of all targets' singular values that one threshold cuts off, above 0 and below 1.
        min_ratio: The share of a layer's own above which it is low-rank, at least 0 and below 1. At 0.5 no
            layer's factors are larger than the layer.
        spectrum: What is compared with the threshold: a value over the layer's largest (``"largest"``), or
            its place between the layer's smallest and largest (``"range"``; the authors' code).
        ranks: ``"adaptive"``, or ``"uniform"``: of every layer the same share, to compare with.
        targets: Patterns (``*query``) of the names of layers; those that are ``nn.Linear`` are looked at.
        trained: Patterns of the names of parameters that are trained and sent besides, whole (``head.*``). A
            layer whose weight is among them is no target.
    """

    of: str | dict[str, Any] = "mlp"
    reduction: float = 0.5
    min_ratio: float = 0.5
    spectrum: Literal["largest", "range"] = "largest"
    ranks: Literal["adaptive", "uniform"] = "adaptive"
    targets: tuple[str, ...] = ("*",)
    trained: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.reduction < 1:
            raise ValueError(f"reduction must be above 0 and below 1, got {self.reduction}")
        if not 0 <= self.min_ratio < 1:
            raise ValueError(f"min_ratio must be at least 0 and below 1, got {self.min_ratio}")

    def build(self, input_shape: tuple[int, ...], num_classes: int, num_tokens: int = 0) -> nn.Module:
        """Return the model; what is trained of it before ``settle`` are the targets' weights."""
        net = net_of(self.of, input_shape, num_classes, num_tokens).requires_grad_(False)
        if any(isinstance(module, Factored) for module in net.modules()):
            raise ValueError("of must be a model without factors, got one of model 'welore'")
        check_patterns(net, self.targets, self.trained)
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(is_named(name, self.trained))
        found = linear_layers(net, self.targets)
        layers = {n: m for n, m in found.items() if not m.weight.requires_grad}
        if not layers:
            there = listed(linear_layers(net))
            raise ValueError(f"targets {list(self.targets)} name no frozen linear layer; there are: {there}")
        for name, layer in layers.items():
            if not name:
                return Factored(layer)
            net.set_submodule(name, Factored(layer))
        return net

    def settle(self, model: nn.Module, _: Callable[[nn.Module], Tensor] | None) -> None:
        """Replace layers of low rank by factors, and freeze the others; where a file had factors, these stay.

        Raises:
            ValueError: No layer is of low rank.
        """
        layers = {n: m for n, m in model.named_modules() if isinstance(m, Factored)}
        if not any(layer.is_factored for layer in layers.values()):
            spectra = [torch.linalg.svdvals(layer.weight.detach().double()) for layer in layers.values()]
            cuts = self.cuts(spectra)
            for layer, values, cut in zip(layers.values(), spectra, cuts, strict=True):
                if cut > self.min_ratio * len(values):
                    layer.factor(len(values) - cut)
            if not any(layer.is_factored for layer in layers.values()):
                most = max(cut / len(values) for cut, values in zip(cuts, spectra, strict=True))
                raise ValueError(
                    f"no layer is of low rank: reduction = {self.reduction} cuts at most {most:.3g} of a "
                    f"layer's singular values, and min_ratio is {self.min_ratio}; a larger one cuts more"
                )
        for layer in layers.values():
            if not layer.is_factored:
                layer.weight.requires_grad_(False)

    def cuts(self, spectra: Sequence[Tensor]) -> list[int]:
        """Return how many of each layer's singular values are cut; of zeros alone, none.

        Args:
            spectra: Each layer's, falling.  # [q] each
        """
        if self.ranks == "uniform":
            counts = [min(int(self.reduction * len(v) + 1e-9), len(v) - 1) for v in spectra]
            return [count if v[0] > 0 else 0 for count, v in zip(counts, spectra, strict=True)]
        found = [normalized(values, self.spectrum) for values in spectra]
        bound = threshold(found, self.reduction)
        return [len(values) - rank for values, rank in zip(spectra, ranks(found, bound), strict=True)]


def normalized(values: Tensor, spectrum: str) -> Tensor:
    """Return singular values [q], falling, in units of the largest, or from the smallest on as well.

    A layer whose values are all alike or all 0 has nothing to cut: 1 for each.
    """
    least = values[-1] if spectrum == "range" else values.new_zeros(())
    width = values[0] - least
    return (values - least) / width if width > 0 else torch.ones_like(values)


def threshold(spectra: Sequence[Tensor], reduction: float) -> float:
    """Return the least bound such that at least that share of all values is not above it; -inf for 0."""
    every = torch.cat(list(spectra)).sort().values
    count = ceil(reduction * len(every) - 1e-9)
    return float(every[count - 1]) if count else -inf


def ranks(spectra: Sequence[Tensor], bound: float) -> list[int]:
    """Return how many values of each layer are above the bound, at least 1."""
    return [max(int((values > bound).sum()), 1) for values in spectra]


class Factored(nn.Linear):
    """A linear layer that may become two factors; ``weight`` is then their product, made anew at each look.

    Attributes:
        lora_down: A.  # [r, n]
        lora_up: B.  # [m, r]
    """

    lora_down: nn.Linear
    lora_up: nn.Linear

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.weight.requires_grad_(True)

    @property
    def is_factored(self) -> bool:
        return "lora_up" in self._modules

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and "lora_up" in self.__dict__.get("_modules", {}):
            return self.lora_up.weight @ self.lora_down.weight
        return super().__getattr__(name)

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_factored:
            return functional.linear(x, self.weight, self.bias)
        found: Tensor = self.lora_up(self.lora_down(x))
        return found if self.bias is None else found + self.bias

    def factor(self, rank: int) -> None:
        """Become the best approximation of that rank, both factors equally long."""
        left, values, right = torch.linalg.svd(self.weight.detach().double(), full_matrices=False)
        roots = values[:rank].sqrt()
        self._become(roots[:, None] * right[:rank], left[:, :rank] * roots)

    def fit_file(self, shapes: Mapping[str, torch.Size]) -> None:
        """Become factors of the rank that a file has them of; their values are still to be read."""
        shape = shapes.get("lora_down.weight", ())
        if len(shape) == 2 and (rank := shape[0]) and not self.is_factored:
            self._become(
                self.weight.new_zeros(rank, self.in_features), self.weight.new_zeros(self.out_features, rank)
            )

    def _become(self, down: Tensor, up: Tensor) -> None:
        self.weight.requires_grad_(False)  # of a layer that was tied, others have it still
        del self.weight
        for name, value in {"lora_down": down, "lora_up": up}.items():
            layer = nn.Linear(value.shape[1], value.shape[0], bias=False, device="meta")
            layer.weight = nn.Parameter(value.float().contiguous())
            setattr(self, name, layer)
