"""One thing that a plug-in may say of itself besides its verb, and how it is read.

A family's declarations stand together in one ``Table``; whoever reads one names it there:
``declared(defense, Defenses.linear)``. No name is written as a string anywhere else.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Generic, Self, TypeVar

import numpy as np

from ..errors import PluginError, shown

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Kind:
    """What values a declaration may have.

    Attributes:
        words: What is allowed, after "must be".
        fits: Whether a value is allowed.
    """

    words: str
    fits: Callable[[object], bool]


class Declaration(Generic[T_co]):
    """One row of a table; its name is the attribute's.

    Attributes:
        name: The class attribute, field, property or method of the plug-in.
        kind: What values it may have; the careful one is allowed in any case.
        careful: What holds of a plug-in that is silent.
        meaning: In one line.
        verbs: The verbs that it speaks of: a class that writes one of these anew does not inherit it.
    """

    def __init__(self, kind: Kind, careful: T_co, meaning: str) -> None:
        self.name = ""
        self.kind, self.careful, self.meaning = kind, careful, meaning
        self.verbs: tuple[str, ...] = ()

    def of(self, *verbs: str) -> Self:
        """Return it, speaking of these verbs."""
        self.verbs = verbs
        return self

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def checked(self, value: object, who: Callable[[], str]) -> T_co:
        """Return a value that fits; ``who`` is asked for a name where it does not.

        Raises:
            PluginError: It does not.
        """
        if value is self.careful or self.kind.fits(value):
            return value  # type: ignore[return-value]
        raise PluginError(f"{who()}: {self.name} must be {self.kind.words}, got {shown(value)}")


class Table:
    """The declarations of one family, as class attributes."""

    @classmethod
    def rows(cls) -> dict[str, Declaration[Any]]:
        """Return the declarations by name, in the order of the file."""
        every = (vars(part) for part in reversed(cls.__mro__))
        return {k: v for part in every for k, v in part.items() if isinstance(v, Declaration)}


def declared(plugin: object, declaration: Declaration[T]) -> T:
    """Return what a plug-in, or a class of them, declares; the careful answer if it is silent.

    A class whose members each give their own answer (a property) is silent, and so is one that inherits what
    it would declare of a verb, and writes that verb anew.

    Raises:
        PluginError: The plug-in declares a value of another type.
    """
    if declaration.verbs and _speaks_of_another(_class_of(plugin), declaration.name, declaration.verbs):
        return declaration.careful
    value = getattr(plugin, declaration.name, declaration.careful)
    if isinstance(plugin, type) and isinstance(value, property):
        return declaration.careful
    return declaration.checked(value, lambda: name_of(plugin))


@lru_cache(maxsize=4096)
def _speaks_of_another(kind: type, name: str, verbs: tuple[str, ...]) -> bool:
    """Return whether a class has ``name`` from one whose ``verbs`` it, or one between them, writes anew."""
    own = [vars(part) for part in kind.__mro__]
    first = next((place for place, names in enumerate(own) if name in names), 0)
    return any(verb in names for names in own[:first] for verb in verbs)


def declares(plugin: object, declaration: Declaration[Any]) -> bool:
    """Return whether a plug-in, or a class of them, says anything under this name."""
    spoken = not _speaks_of_another(_class_of(plugin), declaration.name, declaration.verbs)
    return spoken and hasattr(plugin, declaration.name)


def name_of(plugin: object) -> str:
    """Return the name of a plug-in's class, behind a guard too."""
    return _class_of(plugin).__name__


def _class_of(plugin: object) -> type:
    plain = getattr(plugin, "__wrapped__", plugin)
    return plain if isinstance(plain, type) else type(plain)


# ---- kinds ------------------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _all_of(value: object, fits: Callable[[object], bool]) -> bool:
    several = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
    return several and all(map(fits, value))  # type: ignore[call-overload]


ANYTHING = Kind("anything", lambda _: True)
FLAG = Kind("True or False", lambda v: isinstance(v, bool | np.bool_))
_NUMBER = Kind("a number", _is_number)
_WORD = Kind("a string", lambda v: isinstance(v, str))
_WORDS = Kind("a tuple of strings", lambda v: _all_of(v, lambda w: isinstance(w, str)))
_NUMBERS = Kind("a tuple of whole numbers", lambda v: _all_of(v, _is_count))
_MAPPING = Kind("a mapping from strings", lambda v: isinstance(v, Mapping) and _all_of(list(v), _WORD.fits))


def flag(meaning: str, careful: bool = False) -> Declaration[bool]:
    """Declare a fact that holds or not."""
    return Declaration(FLAG, careful, meaning)


def count(careful: int, meaning: str) -> Declaration[int]:
    """Declare a whole number, at least 0."""
    kind = Kind("a whole number, at least 0", lambda v: _is_count(v) and v >= 0)  # type: ignore[operator]
    return Declaration(kind, careful, meaning)


def number(careful: T, meaning: str) -> Declaration[T]:
    """Declare a number; or None, where that is the careful answer."""
    return Declaration(_NUMBER, careful, meaning)


def word(careful: T, meaning: str) -> Declaration[T]:
    """Declare a string; or None, where that is the careful answer."""
    return Declaration(_WORD, careful, meaning)


def one_of(allowed: tuple[str, ...], careful: str, meaning: str) -> Declaration[str]:
    """Declare one of some strings."""
    kind = Kind(f"one of {', '.join(allowed)}", lambda v: isinstance(v, str) and v in allowed)
    return Declaration(kind, careful, meaning)


def words(meaning: str, careful: tuple[str, ...] = ()) -> Declaration[tuple[str, ...]]:
    """Declare any number of strings."""
    return Declaration(_WORDS, careful, meaning)


def numbers(meaning: str) -> Declaration[tuple[int, ...]]:
    """Declare any number of whole numbers."""
    return Declaration(_NUMBERS, (), meaning)


def mapping(meaning: str) -> Declaration[Mapping[str, object]]:
    """Declare values by name."""
    return Declaration(_MAPPING, {}, meaning)


def method(signature: str, meaning: str) -> Declaration[Any]:
    """Declare a method that a plug-in may have; None where it has not."""
    return Declaration(Kind(f"a method {signature}", callable), None, meaning)
