"""What a layer's examples' gradients are made of: factors, from what went in and what came back.

Source: Rochette, Manoel, Tramel. Efficient Per-Example Gradient Computations in Convolutional Neural
Networks. 2019. arXiv:1912.06015 (unfolding). Bu, Wang, Zha, Karypis. Differentially Private Optimization on
Large Foundation Models at Small Cost. ICML 2023. arXiv:2210.00038 (Gram matrices where they are less work).
"""

from torch import Tensor, nn

from .example_gradients import ExampleGradient, Outer, Positions, Turned, Written


def _product(back: Tensor, into: Tensor) -> ExampleGradient:
    """Return the gradients of a weight [C, D] from factors [K, B, C, T] and [K, B, T, D] over T positions."""
    (channels, positions), depth = back.shape[2:], into.shape[3]
    if positions == 1:
        return Outer(back.squeeze(3), into.squeeze(2))
    if 2 * positions * (channels + depth) < channels * depth:
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


def _embedding(layer: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    """Return what comes back to each token, summed over where it stands."""
    assert isinstance(layer, nn.Embedding)
    lead, (tokens, width) = into.shape[:2], (layer.num_embeddings, layer.embedding_dim)
    places, back = into.reshape(*lead, -1, 1), back.reshape(*lead, -1, width)  # [K, B, T, 1], [K, B, T, d]
    rows = back.new_zeros(*lead, tokens, width).scatter_add_(2, places.expand_as(back), back)
    return [Written(rows.flatten(2)), Written(rows.new_zeros(*lead, 0))]


_LAYERS = {
    nn.Embedding: _embedding,
    nn.Linear: _dense,
    nn.Conv2d: _convolution,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
}


def has_factors(layer: nn.Module) -> bool:
    """Return whether ``of_layer`` knows the layer."""
    if isinstance(layer, nn.Conv2d):
        return type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
    if isinstance(layer, nn.Embedding):
        plain = layer.padding_idx is None and layer.max_norm is None
        return type(layer) is nn.Embedding and plain and not (layer.scale_grad_by_freq or layer.sparse)
    return type(layer) in _LAYERS


def of_layer(layer: nn.Module, into: Tensor, back: Tensor) -> list[ExampleGradient]:
    """Return the gradients of a layer's weight and bias, in this order.

    Args:
        layer: One that ``has_factors``; it was called once for each example.
        into: What went into it.  # [K, B, ...]
        back: The gradient of each example's loss with respect to what came out of it.  # [K, B, ...]
    """
    return _LAYERS[type(layer)](layer, into, back)
