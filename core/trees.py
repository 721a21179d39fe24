"""State as a tree of plain values and tensors, and its way to JSON plus named tensors.

What a plug-in remembers is made of ``None``, bool, int, float, str, tensors, and lists, tuples and
dictionaries of them (keys: str or int). Such a state can be checkpointed without pickle.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .wanted import kind_of

_DEEPEST = 100  # levels: JSON is written and read by recursion
_LONGEST = 14_000  # bits of an int: Python reads back no more than 4300 digits

State = Any
"""A tree as described above: what ``init`` returns and every verb hands back."""


def pack(tree: State, path: str = "s") -> tuple[Any, dict[str, Tensor]]:
    """Return (a JSON value, the tensors it names).

    Raises:
        TypeError: Something in the tree is of another kind, nested too deeply, or a number that is too long;
            the message says where.
    """
    tensors: dict[str, Tensor] = {}
    return _pack(tree, path, tensors), tensors


def require_tree(tree: State, path: str) -> None:
    """Raise ``TypeError`` as ``pack`` does, and copy no tensor."""
    _pack(tree, path, None)


def _pack(tree: State, path: str, tensors: dict[str, Tensor] | None, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise TypeError(f"state at {path[:40]} ... is nested deeper than {_DEEPEST}, or holds itself")
    if isinstance(tree, int) and tree.bit_length() > _LONGEST:
        raise TypeError(f"state at {path} is an int of {tree.bit_length()} bits, allowed: {_LONGEST}")
    if tree is None or isinstance(tree, (bool, int, str)):
        return tree
    if isinstance(tree, float):
        return {"f": tree.hex()}
    if isinstance(tree, Tensor):
        if tree.layout is not torch.strided or tree.is_meta:
            raise TypeError(f"state at {path} is a {kind_of(tree)}; allowed: dense tensors with values")
        if tensors is not None:
            tensors[path] = tree.detach().contiguous().clone()
        return {"t": path}
    if type(tree) in (list, tuple):
        kind = "l" if isinstance(tree, list) else "u"
        return {kind: [_pack(v, f"{path}.{i}", tensors, depth + 1) for i, v in enumerate(tree)]}
    if isinstance(tree, Mapping) and all(type(k) in (str, int) for k in tree):
        items = enumerate(tree.items())
        return {"d": [[k, _pack(v, f"{path}.{i}", tensors, depth + 1)] for i, (k, v) in items]}
    raise TypeError(
        f"state at {path} is a {type(tree).__name__}; allowed: None, bool, int, float, str, tensors, "
        "and lists, tuples and dictionaries (str or int keys) of them"
    )


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> State:
    """Return the tree that ``pack`` took apart.

    Raises:
        ValueError: The value was not made by ``pack``.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"not a packed state: {str(value)[:60]}")
    kind, content = next(iter(value.items()))
    if kind == "f":
        return float.fromhex(content)
    if kind == "t":
        if content not in tensors:
            raise ValueError(f"packed state names a tensor that is not there: {content}")
        return tensors[content]
    if kind == "l":
        return [unpack(v, tensors) for v in content]
    if kind == "u":
        return tuple(unpack(v, tensors) for v in content)
    if kind == "d":
        return {k: unpack(v, tensors) for k, v in content}
    raise ValueError(f"not a packed state: kind {kind!r}")


def num_bytes(tree: State) -> int:
    """Return how many bytes a tree's values take on a wire: tensors as they are, 8 a number, 1 a bool."""
    if isinstance(tree, Mapping):
        return sum(map(num_bytes, tree.values()))
    if isinstance(tree, (list, tuple)):
        return sum(map(num_bytes, tree))
    if isinstance(tree, Tensor):
        return tree.numel() * tree.element_size()
    if isinstance(tree, str):
        return len(tree.encode())
    return 0 if tree is None else 1 if isinstance(tree, bool) else 8


def equal(a: State, b: State) -> bool:
    """Return whether two trees are equal to the last bit."""
    (skeleton_a, tensors_a), (skeleton_b, tensors_b) = pack(a), pack(b)
    if skeleton_a != skeleton_b or tensors_a.keys() != tensors_b.keys():
        return False
    return all(_same_bits(tensors_a[k], tensors_b[k]) for k in tensors_a)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) and torch.equal(a.isnan(), b.isnan())
