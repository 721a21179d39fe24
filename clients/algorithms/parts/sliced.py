"""Linear layers and convolutions whose backward pass works on some of their outputs alone.

The forward pass is the whole one. Backwards, the gradient of the outputs is cut to the kept channels before
either product, so that both shrink: dW = dY' X and dX = W dY. It is the same as if dY were 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .replaced import replaced

Layer = nn.Linear | nn.Conv2d


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, kept)
        ctx.biased = bias is not None
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kept = ctx.saved_tensors
        dy = gradients[0].index_select(-1, kept)  # [..., kept]
        dx = dy @ weight.index_select(0, kept) if ctx.needs_input_grad[0] else None
        rows = dy.flatten(0, -2)
        dw = torch.zeros_like(weight).index_copy_(0, kept, rows.t() @ x.flatten(0, -2))
        db = dw.new_zeros(len(weight)).index_copy_(0, kept, rows.sum(0)) if ctx.biased else None
        return dx, dw, db, None


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor, how: tuple[Any, ...]
    ) -> Tensor:
        ctx.save_for_backward(x, weight, kept)
        ctx.biased, ctx.how = bias is not None, how
        return F.conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kept = ctx.saved_tensors
        dy, some = gradients[0].index_select(1, kept), weight.index_select(0, kept)
        wanted = [ctx.needs_input_grad[0], True, False]
        how = *ctx.how, False, [0, 0], 1, wanted
        dx, rows, _ = torch.ops.aten.convolution_backward(dy, x, some, None, *how)
        dw = torch.zeros_like(weight).index_copy_(0, kept, rows)
        db = dw.new_zeros(len(weight)).index_copy_(0, kept, dy.sum((0, 2, 3))) if ctx.biased else None
        return dx, dw, db, None, None


def forward_of(layer: Layer, kept: Tensor, x: Tensor) -> Tensor:
    """Return a layer's outputs, whose backward pass works on the channels ``kept`` alone, int64 ascending."""
    if isinstance(layer, nn.Linear):
        found: Tensor = _Linear.apply(x, layer.weight, layer.bias, kept)  # type: ignore[no-untyped-call]
        return found
    how = list(layer.stride), list(layer.padding), list(layer.dilation)
    out: Tensor = _Conv2d.apply(x, layer.weight, layer.bias, kept, how)  # type: ignore[no-untyped-call]
    return out


def check(name: str, path: str, layer: nn.Module) -> Layer:
    """Return the layer.

    Raises:
        ValueError: It is none whose backward pass can be cut.
    """
    if isinstance(layer, nn.Linear):
        return layer
    fits = isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros"
    if not fits or isinstance(layer.padding, str):
        raise ValueError(
            f"{name}: layer '{path}' is a {type(layer).__name__}; hidden layers must be nn.Linear, or "
            "nn.Conv2d of one group with a number of zeros around"
        )
    assert isinstance(layer, nn.Conv2d)
    return layer


def sliced(model: nn.Module, kept: Mapping[str, Tensor], name: str) -> AbstractContextManager[None]:
    """Have layers of ``model`` go backwards on some channels alone, inside a block.

    Args:
        model: Left as it was.
        kept: By a layer's path, its channels, int64 ascending; where these are all of them it is left.
        name: Who asks, for a refusal.
    """
    layers = {path: check(name, path, model.get_submodule(path)) for path in kept}
    cut = {path: layer for path, layer in layers.items() if len(kept[path]) < len(layer.weight)}
    return replaced(model, {path: partial(forward_of, layer, kept[path]) for path, layer in cut.items()})
