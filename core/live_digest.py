"""What an object of this process is, in 16 hexadecimal digits: equal code and equal values, equal digits.

Of classes and functions that were written for this run (in a notebook, a script, a file beside it) the byte
code counts, with the constants, the closures and those globals that it names; of installed packages and of
this one the name alone. So a script that is run again names its objects as before, under one version of
Python; another comment changes nothing, another number does.
"""

import pickle
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

_PACKAGE = __name__.partition(".")[0]
_INSTALLED = tuple({str(Path(sysconfig.get_path(name))) for name in ("stdlib", "purelib", "platlib")})
_OF_PYTHON = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__doc__",
        "__module__",
        "__annotations__",
        "__abstractmethods__",
        "_abc_impl",
    }
    | {"__dataclass_fields__", "__dataclass_params__", "__firstlineno__", "__static_attributes__"}
)
Seen = dict[int, tuple[int, Any]]
"""From an object's id to its place among those met, and the object."""
_tokens: dict[int, tuple[Any, bytes]] = {}  # of what cannot be written down; held, so that no id comes twice


def digest_of(thing: object) -> str:
    """Return 16 hexadecimal digits (64 bits) that stand for a class, a function or an object."""
    hasher = blake2b(digest_size=8)
    for part in _parts(thing, {}):
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest()


def _parts(thing: Any, seen: Seen) -> Iterator[bytes]:
    """Return everything that a thing is made of; what was met before by its place alone."""
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        yield f"{type(thing).__name__} {thing!r}".encode(errors="surrogatepass")
        return
    if id(thing) in seen:
        yield f"again {seen[id(thing)][0]}".encode()
        return
    seen[id(thing)] = len(seen), thing  # held, so that no other gets its id meanwhile
    if isinstance(thing, type | FunctionType):
        place = thing.__module__ if _is_installed(thing) else ""
        yield f"{place} {thing.__qualname__}".encode()
    for kind, of_kind in _KINDS:
        if isinstance(thing, kind):
            yield of_kind.__name__.encode()
            yield from of_kind(thing, seen)
            return
    yield from _of_object(thing, seen)


def _is_installed(thing: type | FunctionType) -> bool:
    """Return whether a class or function is Python's, this package's or an installed package's."""
    name = thing.__module__
    if not name or name == "__main__":  # nameless: what dataclasses write for a class of no module
        return False
    first, file = name.partition(".")[0], getattr(sys.modules.get(name), "__file__", None)
    return first in (_PACKAGE, *sys.stdlib_module_names) or str(file or "").startswith(_INSTALLED)


def _of_class(thing: type, seen: Seen) -> Iterator[bytes]:
    if _is_installed(thing):
        return
    for base in thing.__bases__:
        yield from _parts(base, seen)
    own = {name: value for name, value in vars(thing).items() if name not in _OF_PYTHON}
    yield repr(vars(thing).get("__annotations__", {})).encode()
    yield from _of_table(own, seen)


def _of_function(thing: FunctionType, seen: Seen) -> Iterator[bytes]:
    if _is_installed(thing):
        return
    yield from _of_code(thing.__code__, seen)
    yield from _parts((thing.__defaults__, thing.__kwdefaults__), seen)
    for cell in thing.__closure__ or ():
        with suppress(ValueError):  # a name that is not bound yet
            yield from _parts(cell.cell_contents, seen)
    for name in sorted(_names(thing.__code__)):
        if name in thing.__globals__:
            yield name.encode()
            yield from _parts(thing.__globals__[name], seen)


def _names(code: CodeType) -> set[str]:
    """Return the global names that code, and code within it, asks for."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _of_module(thing: ModuleType, seen: Seen) -> Iterator[bytes]:
    yield from _parts(thing.__name__, seen)


def _of_code(thing: CodeType, seen: Seen) -> Iterator[bytes]:
    yield thing.co_code
    yield repr((thing.co_names, thing.co_varnames, thing.co_freevars)).encode()
    for one in thing.co_consts:
        yield from _of_code(one, seen) if isinstance(one, CodeType) else _parts(one, seen)


def _of_table(thing: Mapping[Any, Any], seen: Seen) -> Iterator[bytes]:
    for key, value in thing.items():
        yield from _parts(key, seen)
        yield from _parts(value, seen)


def _of_list(thing: Any, seen: Seen) -> Iterator[bytes]:
    yield str(len(thing)).encode()
    for one in thing:
        yield from _parts(one, seen)


def _of_set(thing: Any, seen: Seen) -> Iterator[bytes]:
    yield from sorted(b"".join(_parts(one, dict(seen))) for one in thing)


def _of_tensor(thing: torch.Tensor, seen: Seen) -> Iterator[bytes]:
    yield from _parts(f"{thing.dtype} {tuple(thing.shape)}", seen)
    yield thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _of_array(thing: Any, seen: Seen) -> Iterator[bytes]:
    yield f"{thing.dtype} {thing.shape}".encode()
    yield from _of_list(thing.tolist(), seen) if thing.dtype == object else [thing.tobytes()]


def _of_wrapped(thing: Any, seen: Seen) -> Iterator[bytes]:
    for name in ("fget", "fset", "__func__", "__self__", "func"):
        yield from _parts(getattr(thing, name, None), seen)


def _of_object(thing: Any, seen: Seen) -> Iterator[bytes]:
    """Return an object's class and attributes; where it shows none, its pickle; else what is its alone."""
    yield from _parts(type(thing), seen)
    slots = [n for kind in type(thing).__mro__ for n in _slots(kind)]
    state = {n: getattr(thing, n) for n in slots if hasattr(thing, n)} | getattr(thing, "__dict__", {})
    if state:
        yield from _of_table(state, seen)
        return
    try:
        yield pickle.dumps(thing, protocol=4)
    except Exception:  # an open file, a lock
        yield _tokens.setdefault(id(thing), (thing, token_bytes(16)))[1]


def _slots(kind: type) -> tuple[str, ...]:
    named = vars(kind).get("__slots__", ())
    return (named,) if isinstance(named, str) else tuple(n for n in named if n not in _OF_PYTHON)


_KINDS: tuple[tuple[Any, Callable[[Any, Seen], Iterator[bytes]]], ...] = (
    (type, _of_class),
    (FunctionType, _of_function),
    (ModuleType, _of_module),
    (dict, _of_table),
    (list, _of_list),
    (tuple, _of_list),
    (set, _of_set),
    (frozenset, _of_set),
    (torch.Tensor, _of_tensor),
    (np.ndarray, _of_array),
    ((property, staticmethod, classmethod, MethodType), _of_wrapped),
)
