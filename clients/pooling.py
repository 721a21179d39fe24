"""Max-pooling whose windows lie side by side, by comparing slices: several times as fast on a CPU.

The same values and the same gradients as torch's: of equal values in a window the first one wins.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

_OPS = torch.ops.aten
_FORTH, _BACK = _OPS.max_pool2d_with_indices.default, _OPS.max_pool2d_with_indices_backward.default


def pool(x: Tensor, window: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Return each window's greatest value [..., H/h, W/w], and for each place whether (1, 0) it is there."""
    first, *others = (part.contiguous() for part in _slices(x, window))
    best, better = first, list[Tensor]()
    for part in others:
        better.append(part > best)
        best = torch.maximum(best, part)
    wins: list[Tensor] = []
    beaten = torch.zeros_like(first, dtype=torch.bool)
    for ahead in reversed(better):  # the last one that was better than all before it
        wins.append((ahead & ~beaten).to(x.dtype))
        beaten = beaten | ahead
    return best, [(~beaten).to(x.dtype), *reversed(wins)]


def unpool(gradient: Tensor, wins: Sequence[Tensor], like: Tensor, window: Sequence[int]) -> Tensor:
    """Return the gradient with respect to what was pooled, of the shape of ``like``."""
    rest = any(size % step for size, step in zip(like.shape[-2:], window, strict=True))
    out = torch.zeros_like(like) if rest else torch.empty_like(like)
    for home, won in zip(_slices(out, window), wins, strict=True):
        home.copy_(gradient * won)
    return out


def _slices(x: Tensor, window: Sequence[int]) -> list[Tensor]:
    """Return what stands at each place of all windows.  # [..., H/h, W/w] each"""
    (h, w), (height, width) = window, x.shape[-2:]
    bottom, right = height - height % h, width - width % w
    return [x[..., i:bottom:h, j:right:w] for i in range(h) for j in range(w)]


def pool_by_slices(module: GraphModule) -> GraphModule:
    """Return the trace with its poolings, forth and back, done by ``pool`` and ``unpool`` where they can be.

    They cannot where something else looks at which pixels won: in a stack of clients it is rearranged.
    """
    for node in [n for n in module.graph.nodes if n.target is _FORTH]:
        window, backs = _window(node), _backs(node)
        if window is None or backs is None:
            continue
        with module.graph.inserting_after(node):
            ours = module.graph.call_function(pool, (node.args[0], window))
        node.replace_all_uses_with(ours)
        for back in backs:
            with module.graph.inserting_after(back):
                undone = module.graph.call_function(
                    unpool, (*back.args[:1], back.args[-1], back.args[1], window)
                )
            back.replace_all_uses_with(undone)
            module.graph.erase_node(back)
        module.graph.erase_node(node)
    return module


def _backs(node: Node) -> list[Node] | None:
    """Return the ways back through a pooling; None where its places are used for anything else."""
    places = [got for got in node.users if got.args[1] == 1]
    backs = [user for got in places for user in got.users]
    return backs if all(user.target is _BACK for user in backs) else None


def _window(node: Node) -> tuple[int, int] | None:
    """Return a pooling's window, or None where windows overlap, leave gaps or reach over the edge."""
    given: Any = dict(enumerate(node.args))
    window = [*given[1]] * (2 if len(given[1]) == 1 else 1)
    stride = [*given.get(2, [])] or window
    stride = stride * (2 if len(stride) == 1 else 1)
    plain = not any(given.get(3, [0])) and set(given.get(4, [1])) == {1} and not given.get(5, False)
    return (window[0], window[1]) if plain and stride == window else None
