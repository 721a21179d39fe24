"""Every example's own gradient of one parameter, most often as factors that are never multiplied out.

A dense layer's gradient for one example is the product of what came back to its output and what went into it;
a convolution's is a sum of such products over the positions of its window. Two things are asked of it: its
squared norm, and the sum over the examples, each times a weight. Both follow from the factors.

Source: Goodfellow. Efficient Per-Example Gradient Computations. 2015. arXiv:1510.01799 (norms of dense
layers). Rochette, Manoel, Tramel. Efficient Per-Example Gradient Computations in Convolutional Neural
Networks. 2019. arXiv:1912.06015 (unfolding). Bu, Wang, Zha, Karypis. Differentially Private Optimization on
Large Foundation Models at Small Cost. ICML 2023. arXiv:2210.00038 (one pass back, and Gram matrices where
they are smaller than the gradient).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class ExampleGradient(Protocol):
    """The gradients of one parameter, of K clients with B examples each."""

    def squares(self) -> Tensor:
        """Return the squared L2 norm of each example's gradient.  # [K, B]"""

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        """Add the examples' gradients, each times its weight [K, B], to ``home`` [K, ...]."""

    def without(self, left_out: Tensor) -> "ExampleGradient":
        """Return the same with the gradients where ``left_out`` [K, B] is true set to zero."""


def _zeroed(values: Tensor, left_out: Tensor) -> Tensor:
    return values.masked_fill(left_out.view(*left_out.shape, *[1] * (values.ndim - 2)), 0.0)


def _add_weighted(home: Tensor, rows: Tensor, weights: Tensor) -> None:
    """Add the weighted sums of ``rows`` [K, B, S] to ``home`` [K, ...] of S elements a client."""
    flat = home.view(len(home), 1, rows.shape[-1])
    flat.baddbmm_(weights.unsqueeze(1), rows)


@dataclass(frozen=True)
class Written:
    """Gradients that are written down: of biases, of normalising layers, of whatever has no factors.

    Attributes:
        rows: One row an example.  # [K, B, S]
    """

    rows: Tensor

    def squares(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.rows, dim=2)
        return norms.square_()

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        _add_weighted(home, self.rows, weights)

    def without(self, left_out: Tensor) -> "Written":
        return Written(_zeroed(self.rows, left_out))


@dataclass(frozen=True)
class Outer:
    """Gradients ``back x into`` of a dense layer's weight.

    Attributes:
        back: What came back to the layer's output.  # [K, B, C]
        into: What went into it.  # [K, B, D]
    """

    back: Tensor
    into: Tensor

    def squares(self) -> Tensor:
        lengths: list[Tensor] = [torch.linalg.vector_norm(f, dim=2) for f in (self.back, self.into)]
        return (lengths[0] * lengths[1]).square_()

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        home.baddbmm_((self.back * weights.unsqueeze(2)).transpose(1, 2), self.into)

    def without(self, left_out: Tensor) -> "Outer":
        return Outer(_zeroed(self.back, left_out), _zeroed(self.into, left_out))


@dataclass(frozen=True)
class Positions:
    """Gradients ``sum_t back_t x into_t`` over so many positions that two T x T matrices are the smaller way.

    Attributes:
        back: What came back.  # [K, B, C, T]
        into: What went in.  # [K, B, T, D]
    """

    back: Tensor
    into: Tensor

    def squares(self) -> Tensor:
        back, into = self.back, self.into
        products = (back.transpose(2, 3) @ back).mul_(into @ into.transpose(2, 3))  # [K, B, T, T]
        return products.sum(dim=(2, 3)).clamp_(min=0.0)

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        back = (self.back * weights[..., None, None]).transpose(1, 2).flatten(2)  # [K, C, B * T]
        into = self.into.flatten(1, 2)  # [K, B * T, D]
        home.view(len(home), back.shape[1], into.shape[2]).baddbmm_(back, into)

    def without(self, left_out: Tensor) -> "Positions":
        return Positions(_zeroed(self.back, left_out), _zeroed(self.into, left_out))


@dataclass(frozen=True)
class Turned:
    """Gradients of a convolution's weight whose channels stand last, where the parameter has them second.

    Attributes:
        inner: The gradients, of C rows of (window height, window width, channels).
        window: Those three sizes.
    """

    inner: ExampleGradient
    window: tuple[int, int, int]

    def squares(self) -> Tensor:
        return self.inner.squares()

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        total = torch.zeros(*home.shape[:2], *self.window)  # [K, C, h, w, channels]
        self.inner.add_to(total, weights)
        home.add_(total.permute(0, 1, 4, 2, 3))

    def without(self, left_out: Tensor) -> "Turned":
        return Turned(self.inner.without(left_out), self.window)


def _product(back: Tensor, into: Tensor) -> ExampleGradient:
    """Return the gradients of a weight [C, D] from factors [K, B, C, T] and [K, B, T, D] over T positions."""
    (channels, positions), depth = back.shape[2:], into.shape[3]
    if positions == 1:
        return Outer(back.squeeze(3), into.squeeze(2))
    if 2 * positions**2 < channels * depth:
        return Positions(back, into)
    return Written((back @ into).flatten(2))


def _dense(_: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    into, back = (v.view(*v.shape[:2], -1, v.shape[-1]) for v in (into, back))  # [K, B, T, D] and [..., C]
    weight = _product(back.transpose(2, 3), into)
    return [weight, Written(back.sum(dim=2))]


def _convolution(layer: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    assert isinstance(layer, nn.Conv2d)
    lead = into.shape[:2]
    back = back.reshape(*lead, layer.out_channels, -1)  # [K, B, C, T]
    bias, x = Written(back.sum(dim=3)), _padded(layer, into.flatten(0, 1))
    (h, w), channels, across = layer.kernel_size, layer.in_channels, back.shape[3] ** 0.5
    if layer.dilation != (1, 1):
        seen = nn.functional.unfold(x, layer.kernel_size, layer.dilation, 0, layer.stride)  # [K * B, D, T]
        return [_product(back, seen.view(*lead, *seen.shape[1:]).transpose(2, 3)), bias]
    if w * channels > across:  # what is copied in one piece is longer with the channels last
        seen = _windows(layer, x.permute(0, 2, 3, 1).contiguous(), 1).permute(0, 1, 2, 4, 5, 3)
        weight = _product(back, seen.reshape(*lead, back.shape[3], h * w * channels))
        return [Turned(weight, (h, w, channels)), bias]
    seen = _windows(layer, x, 2).permute(0, 1, 4, 5, 2, 3)
    seen = seen.reshape(*lead, channels * h * w, back.shape[3])  # [K, B, D, T]
    return [_product(back, seen.transpose(2, 3)), bias]


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the inputs [N, channels, H, W] with the zeros that the convolution puts around them."""
    if layer.padding == "valid" or layer.padding == (0, 0):
        return x
    if isinstance(layer.padding, str):
        reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        sides = [(r // 2, r - r // 2) for r in reach]
    else:
        sides = [(p, p) for p in layer.padding]
    return nn.functional.pad(x, (*sides[1], *sides[0]))


def _windows(layer: nn.Conv2d, x: Tensor, rows: int) -> Tensor:
    """Return the windows of ``x``, whose pixels' rows are dimension ``rows``, as two more dimensions."""
    (h, w), (down, right) = layer.kernel_size, layer.stride
    return x.unfold(rows, h, down).unfold(rows + 1, w, right)


def _group_norm(layer: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    assert isinstance(layer, nn.GroupNorm)
    normal = nn.functional.group_norm(into.flatten(0, 1), layer.num_groups, eps=layer.eps).view(into.shape)
    clients, examples, channels = into.shape[:3]
    seen = (back * normal, back)
    return [Written(v.reshape(clients, examples, channels, -1).sum(dim=3)) for v in seen]


def _layer_norm(layer: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    assert isinstance(layer, nn.LayerNorm)
    normal = nn.functional.layer_norm(into, layer.normalized_shape, eps=layer.eps)
    kept = into.shape[into.ndim - len(layer.normalized_shape) :].numel()
    return [Written(v.reshape(*into.shape[:2], -1, kept).sum(dim=2)) for v in (back * normal, back)]


_LAYERS = {
    nn.Linear: _dense,
    nn.Conv2d: _convolution,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
}


def has_factors(layer: nn.Module) -> bool:
    """Return whether ``of_layer`` knows the layer."""
    if isinstance(layer, nn.Conv2d):
        return type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) in _LAYERS


def of_layer(layer: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    """Return the gradients of a layer's weight and bias, in this order.

    Args:
        layer: One that ``has_factors``; it was called once for each example.
        into: What went into it.  # [K, B, ...]
        back: The gradient of each example's loss with respect to what came out of it.  # [K, B, ...]
    """
    return _LAYERS[type(layer)](layer, into, back)


def squares_of(gradients: Sequence[ExampleGradient]) -> tuple[list[ExampleGradient], Tensor]:
    """Return the gradients and their squared norms [L, K, B], examples that are not finite set to zero.

    A gradient whose squared norm overflows float32 counts as not finite.
    """
    squares = torch.stack([g.squares() for g in gradients])  # [L, K, B]
    finite = squares.sum(dim=0).isfinite()  # [K, B]
    if bool(finite.all()):
        return list(gradients), squares
    return [g.without(~finite) for g in gradients], squares.where(finite, 0.0)
