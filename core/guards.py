"""A plug-in behind a guard: its faults are named, its replies looked at, what it is handed left alone."""

import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from typing import Any, TypeVar, cast

from .errors import PASSED, PluginError, said
from .options import options_of
from .untouched import untouched

P = TypeVar("P")

WATCHED = frozenset(
    (
        *("poison", "corrupt", "goal", "privatize", "encode", "deliver", "clip", "secure_sum", "transform"),
        *("aggregate", "noise", "step", "extra", "judge", "reconstruct", "infer", "share", "settle"),
        *("starts", "arrivals", "weights", "prepare", "evaluate", "plant", "change", "examples"),
        *("answer", "measure", "retrain", "own_seconds", "combine"),
    )
)
"""Verbs that run once a round or client, and are handed what is not theirs to write into."""


class _Guard:
    """A plug-in whose exceptions name it, and that leaves what it is handed. All else is handed through."""

    def __init__(
        self, plugin: object, label: str, checks: Mapping[str, Callable[..., None]], watched: bool
    ) -> None:
        self.__wrapped__ = plugin
        self.__label, self.__checks, self.__watched = label, checks, watched
        self.__stays = not watched and _is_frozen(plugin)
        self.__verbs = dict[str, tuple[Any, Callable[..., Any]]]()

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in self.__dict__.items() if name.startswith("_")}
        return {**own, "_Guard__verbs": {}}

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # asked before __init__ ran: a copy in the making
            raise AttributeError(name)
        try:
            value = getattr(self.__wrapped__, name)
        except (AttributeError, *PASSED):
            raise
        except BaseException as error:
            raise PluginError(f"{self.__label} raised {said(error)}") from error
        if not (inspect.isroutine(value) or isinstance(value, partial)):
            return self.__found(name, value)
        plain, verb = self.__verbs.get(name, (None, None))
        if verb is None or plain != value:  # a bound method is made anew each time, and equal
            verb = self.__guarded(name, value)
            self.__verbs[name] = value, verb
        return self.__found(name, verb)

    def __found(self, name: str, value: Any) -> Any:
        """Return what a name stands for; where it can't become another thing, it is not looked for again."""
        if self.__stays and not name.startswith("_"):
            self.__dict__[name] = value
        return value

    def __guarded(self, name: str, value: Callable[..., Any]) -> Callable[..., Any]:
        """Return a plug-in's verb so that its faults name the plug-in."""
        plugin, label, check = self.__wrapped__, self.__label, self.__checks.get(name)
        watched = self.__watched and name in WATCHED

        @wraps(value)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                handed = (_own_options(plugin), *args, *kwargs.values()) if watched else ()
                with untouched(label, *handed) if watched else nullcontext():
                    found = _in_one_process(label, value, *args, **kwargs)
            except PASSED:
                raise
            except BaseException as error:  # SystemExit, too: no plug-in may end a run as if all were well
                raise PluginError(f"{label} raised {said(error)}") from error
            if check is not None:
                _held(check, f"{label}: {name}", found, args)
            return found

        return guarded


def _is_frozen(plugin: object) -> bool:
    found: Any = getattr(type(plugin), "__dataclass_params__", None)
    return found is not None and bool(found.frozen)


def _in_one_process(label: str, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a verb does; a copy of this process that it made and that comes back ends here.

    Else two processes would go on with one run, and write over each other's results.
    """
    process = os.getpid()
    try:
        return verb(*args, **kwargs)
    finally:
        if os.getpid() != process:
            with suppress(OSError, ValueError):
                os.write(2, f"gauntlet: {label} made a copy of the process, which ends here\n".encode())
            os._exit(1)


def _own_options(plugin: object) -> dict[str, Any]:
    """Return a plug-in's options themselves: one that keeps something in a list among them remembers."""
    named = fields(plugin) if is_dataclass(plugin) and not isinstance(plugin, type) else ()
    return {f.name: getattr(plugin, f.name, None) for f in named if f.init}


def _held(check: Callable[..., None], who: str, found: Any, args: tuple[Any, ...]) -> None:
    """Raise ``PluginError`` where a check finds fault with what came, or cannot even look at it."""
    try:
        check(found, *args)
    except KeyboardInterrupt:
        raise
    except PluginError as error:
        raise PluginError(f"{who} {error}") from error
    except BaseException as error:
        raise PluginError(f"{who} returned what cannot be looked at: {said(error)}") from error


def guard(
    plugin: P,
    label: str,
    checks: Mapping[str, Callable[..., None]] | None = None,
    watched: bool | None = None,
) -> P:
    """Return ``plugin`` so that its faults become a one-line ``PluginError`` naming it.

    Args:
        plugin: Any object.
        label: What messages call it.
        checks: From a verb to what looks at its results, called with these and the verb's own arguments; see
            ``core.replies``.
        watched: Whether a write into what it is handed is such a fault; by default where it is, or names as
            an option, one from outside. Tests hold those of this package to it, so that they need not pay for
            the watch.
    """
    is_watched = from_outside(plugin) if watched is None else watched
    return cast(P, _Guard(plugin, label, checks or {}, is_watched))


def from_outside(plugin: object) -> bool:
    """Return whether a plug-in is not this package's, or names one that is not as an option."""
    plain = getattr(plugin, "__wrapped__", plugin)
    ours = type(plain).__module__.partition(".")[0] == __name__.partition(".")[0]
    return not ours or _names_another(options_of(plain))


def _names_another(options: Any) -> bool:
    if isinstance(options, Mapping):
        return any(map(_names_another, options.values()))
    if isinstance(options, list | tuple):
        return any(map(_names_another, options))
    return isinstance(options, str) and ":" in options
