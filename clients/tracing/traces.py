"""Traces that the runs of one process share: models of one structure have one trace.

A trace takes longer than a round of small clients, and a sweep has many runs of one model.
"""

from collections import OrderedDict
from collections.abc import Hashable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

_MOST = 32  # structures
_SHARED: OrderedDict[Hashable, dict[Any, Any]] = OrderedDict()
_PLAIN = (int, float, bool, str, bytes, type(None), type, torch.dtype, FunctionType, BuiltinFunctionType)
_OWN = frozenset(vars(nn.Module()))  # what every module has
_CONTENT = frozenset({"training", "_parameters", "_modules", "_non_persistent_buffers_set"})


def traces_of(model: nn.Module, *beside: Hashable) -> dict[Any, Any]:
    """Return where the traces of all models of this structure are kept, by whatever else they depend on.

    Args:
        model: What is traced, with its parameters as inputs.
        beside: What else every trace depends on.

    Returns:
        A dictionary to be written to; a fresh one where it cannot be told whether another model is alike.
    """
    structure = structure_of(model)
    if structure is None:
        return {}
    key = (structure, *beside)
    found = _SHARED.setdefault(key, {})
    _SHARED.move_to_end(key)
    if len(_SHARED) > _MOST:
        _SHARED.popitem(last=False)
    return found


def structure_of(model: nn.Module) -> Hashable | None:
    """Return all that a forward pass depends on but parameters and inputs: equal ones have equal traces.

    Two modules or parameters that are one count as such. None where it depends on what cannot be compared:
    parameters that are not trained, whose numbers a trace holds, buffers, hooks, slots, or attributes that
    are neither plain values nor functions. What a function reads beside its arguments is taken to stay.
    """
    places: dict[int, int] = {}
    parts: list[Hashable] = []
    for path, module in model.named_modules(remove_duplicate=False):
        known = id(module) in places
        parts.append((path, type(module), places.setdefault(id(module), len(places))))
        if known:
            continue
        rest = {name: value for name, value in vars(module).items() if name not in _CONTENT}
        if any(rest.pop(name, None) for name in _OWN):  # buffers, hooks
            return None
        if any(vars(kind).get("__slots__") for kind in type(module).__mro__):
            return None
        for name, value in rest.items():
            if not _is_plain(value):
                return None
            parts.append((name, _frozen(value)))
        parts.extend(_of_its_class(type(module)))
        parts.append((module.training, tuple(n for n, m in module._modules.items() if m is None)))
        for name, p in module._parameters.items():
            if p is not None and not p.requires_grad:
                return None
            like = None if p is None else (p.shape, p.stride(), p.dtype, p.device)
            parts.append((name, like, p if p is None else places.setdefault(id(p), len(places))))
    return tuple(parts)


def _of_its_class(kind: type) -> list[Hashable]:
    """Return the plain attributes of a module's classes: they may be set between runs."""
    above = kind.__mro__[: kind.__mro__.index(nn.Module)]
    found = [(n, v) for one in above for n, v in vars(one).items() if not n.startswith("__")]
    return [(name, _frozen(value)) for name, value in found if _is_plain(value)]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict | list | tuple | set | frozenset) and getattr(value, "__dict__", None):
        return False  # it holds more than its elements
    if isinstance(value, dict):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN or isinstance(value, type)


def _frozen(value: Any) -> Hashable:
    """Return a plain value so that it can be a key, with its type: 1, 1.0 and True are three things."""
    if isinstance(value, dict):
        return dict, tuple((_frozen(k), _frozen(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_frozen, value))
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(_frozen, value))
    return type(value), repr(value) if isinstance(value, float) else value
