"""Max-pooling whose windows lie side by side, by comparing slices: several times as fast on a CPU.

The same values and the same gradients as torch's: of equal values in a window the first one wins.
"""

from collections.abc import Sequence
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

_OPS = torch.ops.aten
_REARRANGE = {op.default for op in (_OPS.view, _OPS._unsafe_view, _OPS.permute, _OPS.clone)}
_BENT = _OPS.threshold_backward.default
_FORTH, _BACK = _OPS.max_pool2d_with_indices.default, _OPS.max_pool2d_with_indices_backward.default


def pool(x: Tensor, window: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Return each window's greatest value [..., H/h, W/w], and which column of a row and which row has it.

    Along a row first, then down: of equal values the first one in reading order wins, as in torch.
    """
    (h, w), (bottom, right) = window, _edges(x, window)
    best, across = _greatest([x[..., :bottom, j:right:w].contiguous() for j in range(w)])
    best, down = _greatest([best[..., i::h, :] for i in range(h)])
    return best, [*across, *down]


def _greatest(parts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the greatest of values of one shape, and for each part where (1, 0) it is the first that is."""
    best, better = parts[0], list[Tensor]()
    for part in parts[1:]:
        better.append(torch.gt(part, best, out=torch.empty_like(best)))  # numbers: truth values take longer
        best = torch.maximum(best, part)
    wins, left = list[Tensor](), torch.ones_like(best)
    for ahead in reversed(better):  # the last one that was better than all before it
        wins.append(ahead * left)
        left = left - wins[-1]
    return best, [left, *reversed(wins)]


def unpool(gradient: Tensor, wins: Sequence[Tensor], like: Tensor, window: Sequence[int]) -> Tensor:
    """Return the gradient with respect to what was pooled, of the shape of ``like``."""
    (h, w), (bottom, right) = window, _edges(like, window)
    rows = torch.empty_like(wins[0])  # [..., H, W/w]
    for i, won in enumerate(wins[w:]):
        torch.mul(gradient, won, out=rows[..., i::h, :])
    whole = (bottom, right) == tuple(like.shape[-2:])
    out = like.new_empty(like.shape) if whole else like.new_zeros(like.shape)
    for j, won in enumerate(wins[:w]):
        torch.mul(rows, won, out=out[..., :bottom, j:right:w])
    return out


def _edges(x: Tensor, window: Sequence[int]) -> tuple[int, int]:
    """Return how many rows and columns whole windows cover."""
    (h, w), (height, width) = window, x.shape[-2:]
    return height - height % h, width - width % w


def pool_by_slices(module: GraphModule) -> GraphModule:
    """Return the trace with its poolings, forth and back, done by ``pool`` and ``unpool`` where they can be.

    They cannot where something else looks at which pixels won.
    """
    for node in [n for n in module.graph.nodes if n.target is _FORTH]:
        window, backs = _window(node), _backs(node)
        if window is None or backs is None:
            continue
        with module.graph.inserting_after(node):
            ours = module.graph.call_function(pool, (node.args[0], window))
        for got in [user for user in node.users if user.args[1] == 0]:
            got.replace_input_with(node, ours)
        for back in backs:
            with module.graph.inserting_before(back):
                wins = module.graph.call_function(getitem, (ours, 1))
                undone = module.graph.call_function(unpool, (back.args[0], wins, back.args[1], window))
            back.replace_all_uses_with(undone)
            module.graph.erase_node(back)
        module.graph.eliminate_dead_code()  # torch's own pooling, at which nobody looks now
        _pool_before_relu(module.graph, ours)
    return module


def _pool_before_relu(graph: Graph, pooled: Node) -> None:
    """Let what is pooled be made positive afterwards, when it is smaller, where nobody else looks at it.

    The values and the gradients are the same: the greatest value of a window stays the greatest, and one that
    is not positive passes nothing back, whichever it is.
    """
    relu = _behind(pooled.args[0])
    if relu.target is not _OPS.relu.default:
        return
    undone = [user for got in pooled.users for user in got.users if user.target is unpool]
    bent = [user for back in undone for user in _ahead(back).users]
    ways = len(undone) == len(bent) and all(b.target is _BENT and b.args[1] is relu for b in bent)
    if not ways or not _lead_to(set(relu.users) - set(bent), pooled, undone):
        return
    (best,) = (got for got in pooled.users if got.args[1] == 0)
    with graph.inserting_after(best):
        positive = graph.call_function(_OPS.relu.default, (best,))
    best.replace_all_uses_with(positive, delete_user_cb=lambda user: user is not positive)
    for back, after in zip(undone, bent, strict=True):
        with graph.inserting_before(back):
            small = graph.call_function(_BENT, (back.args[0], positive, *after.args[2:]))
        back.args = (small, *back.args[1:])
        last = _ahead(back)
        after.replace_all_uses_with(last)
        graph.erase_node(after)
        _reshape(last)
    source = relu.args[0]
    assert isinstance(source, Node)
    relu.replace_all_uses_with(source)
    graph.erase_node(relu)


def _behind(node: Any) -> Node:
    """Return what a node is a rearrangement of."""
    while node.target in _REARRANGE:
        node = node.args[0]
    found: Node = node
    return found


def _ahead(node: Node) -> Node:
    """Return the last of a row of rearrangements of a node at which nobody else looks."""
    while len(node.users) == 1 and (user := next(iter(node.users))).target in _REARRANGE:
        node = user
    return node


def _reshape(node: Node) -> None:
    """Let the node's views be made anew where it lies otherwise in memory than what stood in its place.

    What is made of it number by number lies as it does.
    """
    for user in node.users:
        if user.target in _REARRANGE or torch.Tag.pointwise in getattr(user.target, "tags", ()):
            _reshape(user)
        if user.target is _OPS.view.default:
            user.target = _OPS.reshape.default


def _lead_to(nodes: set[Node], pooled: Node, undone: Sequence[Node]) -> bool:
    """Return whether nodes are, or are rearranged to be, what is pooled, and nobody else looks at them."""
    goal = {pooled, *undone}
    while nodes - goal:
        if len(nodes) != 1 or next(iter(nodes)).target not in _REARRANGE:
            return False
        nodes = set(next(iter(nodes)).users)
    return pooled in nodes


def _backs(node: Node) -> list[Node] | None:
    """Return the ways back through a pooling; None where its places are used for anything else."""
    places = [_ahead(got) for got in node.users if got.args[1] == 1]
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
