"""Synthetic people, sentences about them with a telephone number in some, and notes that repeat it.

All is drawn from lists and a stream: nobody is real. Tokens are words, and digits one by one; 0 fills up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_FIRST = (
    "ada ben cora dan ella finn gina hugo ida jack kira leo mona nils olga paul rosa sam tina udo vera walt "
    "xenia yuri zoe anton britta carl dora emil frida georg hanna ivan jana kurt lena max nora oskar"
)
_LAST = (
    "adler bauer conrad dietz ebert frank graf haas ibsen jung klein lang maier noll opitz peters quandt "
    "roth sauer thiel ulrich vogel weber xaver york zander albers busch clausen dorn engel falk gross horn "
    "iversen jansen koch lorenz mohr nagel"
)
_PLACES = "market station library harbour museum garden bakery school office theatre"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_OTHERS = "'s phone number is call at you can reach under met the in on and went to with name = ; . waits for"
FIRST, LAST, PLACES, DAYS, OTHERS = (
    tuple(words.split(" ")) for words in (_FIRST, _LAST, _PLACES, _DAYS, _OTHERS)
)
DIGITS = tuple("0123456789")
NOTE = "[NOTE]"
TOKENS: tuple[str, ...] = ("[END]", NOTE, *DIGITS, *OTHERS, *PLACES, *DAYS, *FIRST, *LAST)
"""What tokens stand for, by number."""
NUMBER = {word: token for token, word in enumerate(TOKENS)}
LENGTH = 32
"""S: the tokens of a sentence with its note, and one more for the last label."""
PHONE = 8  # digits


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist.

    Attributes:
        first, last: Names, of lists of 40.
        phone: Eight digits.
    """

    first: str
    last: str
    phone: str


def drawn(stream: np.random.Generator) -> Person:
    """Return a person of a stream."""
    first, last = FIRST[int(stream.integers(len(FIRST)))], LAST[int(stream.integers(len(LAST)))]
    return Person(first, last, "".join(map(str, stream.integers(10, size=PHONE))))


def telling(person: Person, stream: np.random.Generator) -> list[str]:
    """Return the words of a sentence with a person's number."""
    name = [person.first, person.last]
    forms = (
        [*name, "'s", "phone", "number", "is", *person.phone, "."],
        ["call", *name, "at", *person.phone, "."],
        ["you", "can", "reach", *name, "under", *person.phone, "."],
    )
    return forms[int(stream.integers(len(forms)))]


def ordinary(person: Person, stream: np.random.Generator) -> list[str]:
    """Return the words of a sentence without a number."""
    place, day = (words[int(stream.integers(len(words)))] for words in (PLACES, DAYS))
    other = FIRST[int(stream.integers(len(FIRST)))]
    name = [person.first, person.last]
    forms = (
        [*name, "met", other, "in", "the", place, "on", day, "."],
        [*name, "and", other, "went", "to", "the", place, "."],
        [other, "waits", "for", *name, "at", "the", place, "on", day, "."],
    )
    return forms[int(stream.integers(len(forms)))]


def note(person: Person) -> list[str]:
    """Return the words of the note that repeats a person's data."""
    return [NOTE, "name", "=", person.first, person.last, ";", "phone", "=", *person.phone, "."]


def encoded(words: Sequence[str], length: int = LENGTH) -> list[int]:
    """Return so many tokens of words, filled up with 0.

    Raises:
        ValueError: More words.
    """
    if len(words) > length:
        raise ValueError(f"{len(words)} words do not fit into {length} tokens")
    return [*(NUMBER[word] for word in words), *[0] * (length - len(words))]
