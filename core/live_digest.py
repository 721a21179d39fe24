"""What an object of this process is, in 16 hexadecimal digits: equal code and equal values, equal digits.

Of classes and functions that were written for this run (in a notebook, a script, a file beside it) the byte
code counts, with the constants, the closures, those globals that it names, and what it names of modules of
one's own; of installed packages and of this one the name alone. So a script that is run again names its
objects as before, under one version of Python; another comment changes nothing, another number does.
"""

import dis
import pickle
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from inspect import CO_VARARGS, CO_VARKEYWORDS
from pathlib import Path
from secrets import token_bytes
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from .errors import PluginError

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
    """Return 16 hexadecimal digits (64 bits) that stand for a class, a function or an object.

    Raises:
        PluginError: It is nested deeper than Python follows.
    """
    try:
        return _hashed(_parts(thing, {}), 8).hex()
    except RecursionError as error:
        raise PluginError(
            f"an object of {type(thing).__name__} cannot be told from others: it is nested too deeply"
        ) from error


def _hashed(parts: Iterator[bytes], size: int) -> bytes:
    hasher = blake2b(digest_size=size)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.digest()


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
            if of_kind not in (_of_class, _of_function, _of_module):
                yield from _of_kin(thing, seen)
            return
    yield from _of_object(thing, seen)


def _of_kin(thing: Any, seen: Seen) -> Iterator[bytes]:
    """Return what a list or a tensor has besides its values: its own class, and attributes."""
    yield from _parts(type(thing), seen)
    yield from _parts(getattr(thing, "default_factory", None), seen)
    if not _is_installed(type(thing)):
        yield from _of_table(_state(thing), seen)


def _is_installed(thing: type | FunctionType) -> bool:
    """Return whether a class or function is Python's, this package's or an installed package's."""
    return _is_of_package(thing.__module__)


def _is_of_package(name: Any) -> bool:
    if not isinstance(name, str):  # a class in C that has no place
        return name is not None
    if not name or name == "__main__":  # nameless: what dataclasses write for a class of no module
        return False
    first, file = name.partition(".")[0], getattr(sys.modules.get(name), "__file__", None)
    ours = first in (_PACKAGE, *sys.stdlib_module_names) or first.startswith("_cython_")
    return ours or str(file or "").startswith(_INSTALLED)


def _of_class(thing: type, seen: Seen) -> Iterator[bytes]:
    if _is_installed(thing):
        return
    for base in (*thing.__bases__, type(thing)):
        yield from _parts(base, seen)
    own = {name: value for name, value in vars(thing).items() if name not in _OF_PYTHON}
    yield repr(vars(thing).get("__annotations__", {})).encode()
    yield from _of_table(own, seen)


def _of_function(thing: FunctionType, seen: Seen) -> Iterator[bytes]:
    if _is_installed(thing):
        return
    yield from _of_code(thing.__code__, seen)
    yield from _parts((thing.__defaults__, thing.__kwdefaults__), seen)
    yield from _of_table(vars(thing), seen)
    for cell in thing.__closure__ or ():
        with suppress(ValueError):  # a name that is not bound yet
            yield from _parts(cell.cell_contents, seen)
    asked, names = _names(thing.__code__)
    for name in sorted(asked & thing.__globals__.keys()):
        yield name.encode()
        yield from _of_global(thing.__globals__[name], names, seen, ())


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the globals that code, and code within it, asks for; and all names, attributes among them."""
    asked = {str(one.argval) for one in dis.get_instructions(code) if one.opname in _GLOBAL}
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more = _names(inner)
            asked, names = asked | more[0], names | more[1]
    return asked, names


_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def _of_global(thing: Any, names: set[str], seen: Seen, within: tuple[Any, ...]) -> Iterator[bytes]:
    """Return what a global is made of; of a module of one's own also what the code names of it."""
    yield from _parts(thing, seen)
    if not isinstance(thing, ModuleType) or thing in within or _is_of_package(thing.__name__):
        return
    for name in sorted(names & vars(thing).keys()):
        yield name.encode()
        yield from _of_global(vars(thing)[name], names, seen, (*within, thing))


def _of_module(thing: ModuleType, seen: Seen) -> Iterator[bytes]:
    yield from _parts(thing.__name__, seen)


def _of_code(thing: CodeType, seen: Seen) -> Iterator[bytes]:
    yield thing.co_code
    yield getattr(thing, "co_exceptiontable", b"")
    arguments = thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount
    yield repr((*arguments, thing.co_flags & _STARS, len(thing.co_consts))).encode()
    yield repr((thing.co_names, thing.co_varnames, thing.co_freevars)).encode()
    for one in thing.co_consts:
        yield from _of_code(one, seen) if isinstance(one, CodeType) else _parts(one, seen)


_STARS = CO_VARARGS | CO_VARKEYWORDS


def _of_table(thing: Mapping[Any, Any], seen: Seen) -> Iterator[bytes]:
    yield str(len(thing)).encode()
    for key, value in thing.items():
        yield from _parts(key, seen)
        yield from _parts(value, seen)


def _of_list(thing: Any, seen: Seen) -> Iterator[bytes]:
    yield str(len(thing)).encode()
    for one in thing:
        yield from _parts(one, seen)


def _of_set(thing: Any, seen: Seen) -> Iterator[bytes]:
    yield from sorted(_hashed(_parts(one, dict(seen)), 16) for one in thing)


def _of_tensor(thing: torch.Tensor, _: Seen) -> Iterator[bytes]:
    yield f"{thing.dtype} {tuple(thing.shape)} {thing.layout} {thing.requires_grad}".encode()
    if thing.is_meta:
        return
    whole = thing.detach() if thing.layout == torch.strided else thing.detach().to_dense()
    whole = whole.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    yield whole.view(torch.uint8).numpy().tobytes()


def _of_array(thing: Any, seen: Seen) -> Iterator[bytes]:
    yield f"{thing.dtype} {thing.shape}".encode()
    yield from _of_list(thing.tolist(), seen) if thing.dtype == object else [thing.tobytes()]


def _of_wrapped(thing: Any, seen: Seen) -> Iterator[bytes]:
    for name in ("fget", "fset", "fdel", "__func__", "__self__", "func"):
        yield from _parts(getattr(thing, name, None), seen)


def _of_object(thing: Any, seen: Seen) -> Iterator[bytes]:
    """Return an object's class and attributes; where it shows none, its pickle; else what is its alone.

    One of an installed class says itself what it is made of, without what it keeps for speed.
    """
    yield from _parts(type(thing), seen)
    made = _reduced(thing)
    if made is not None:
        yield from _parts(made, seen)
    if isinstance(made, list) and _is_installed(type(thing)):
        return
    if state := _state(thing):
        yield from _of_table(state, seen)
    elif made is None:
        try:
            yield pickle.dumps(thing, protocol=4)
        except Exception:  # an open file, a lock
            yield _tokens.setdefault(id(thing), (thing, token_bytes(16)))[1]


def _state(thing: Any) -> dict[str, Any]:
    """Return an object's attributes, in slots or not."""
    slots = [n for kind in type(thing).__mro__ for n in _slots(kind)]
    return {n: getattr(thing, n) for n in slots if hasattr(thing, n)} | getattr(thing, "__dict__", {})


def _reduced(thing: Any) -> list[Any] | str | None:
    """Return what an installed class makes an object of again, or its place; None where none says so."""
    says = ("__reduce__", "__reduce_ex__", "__getstate__")
    sayer = next((k for k in type(thing).__mro__ if not vars(k).keys().isdisjoint(says)), object)
    if sayer is object or not _is_installed(sayer):
        return None
    try:
        made = thing.__reduce_ex__(4)
        if isinstance(made, str):
            return f"{getattr(thing, '__module__', '')} {made}"
        return [*made[:3], *(list(one or ()) for one in made[3:5])]
    except Exception:  # it cannot be made again
        return None


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
