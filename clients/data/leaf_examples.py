"""What the examples of LEAF's files hold, a kind of file each: from a user's ``x`` and ``y`` to arrays.

Source: LEAF (see ``leaf``): the formats that its data sets' ``preprocess`` writes, and what its reference
models (``models/*/``) make of them: ``ALL_LETTERS``, pictures of 84 x 84, ``build_vocab`` for Reddit.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, shown
from .base import Array
from .pictures import LARGEST_FILE, decoded
from .tiny_shakespeare import windows
from .unpacking import read_bytes

CHARACTERS = 62  # classes of FEMNIST: digits, upper and lower case
LETTERS = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
"""Of Shakespeare, as LEAF's ``language_utils.ALL_LETTERS`` has them: the tokens, and the classes."""
SIDE = 28  # pixels of a character
FILLING, UNKNOWN = "<PAD>", "<UNK>"
"""Of Reddit: tokens 0 and 1."""


@dataclass(frozen=True)
class Kind:
    """What one kind of file holds.

    Attributes:
        decode: From a user's ``x`` and ``y`` to inputs [n, ...] and labels [n, ...].
        num_classes: C.
        num_tokens: Tokens are from 0 to below it; 0 where inputs are pixels.
        task: As ``Dataset.task``.
        fitted: As ``Dataset.fitted``.
    """

    decode: Callable[[Sequence[Any], Sequence[Any]], tuple[Array, Array]]
    num_classes: int
    num_tokens: int = 0
    task: str = ""
    fitted: tuple[str, ...] = ()


def femnist() -> Kind:
    """Return FEMNIST: 784 numbers from 0 to 1, and a class."""
    return Kind(_characters, CHARACTERS)


def shakespeare() -> Kind:
    """Return Shakespeare: a text, and the letter that follows it."""
    return Kind(lambda x, y: (_texts(x), _letters(y)), len(LETTERS), len(LETTERS))


def celeba(folder: Path, side: int) -> Kind:
    """Return CelebA: the name of a picture, and 1 or 0."""
    return Kind(lambda x, y: (_pictures(folder, side, x), _smiles(y)), 2)


def reddit(train: Mapping[str, Mapping[str, Any]], path: str, num_tokens: int, context: int) -> Kind:
    """Return Reddit: a comment as lists of words, and what follows each word.

    Args:
        train: The training users' ``x`` and ``y``, from which words are learnt without a vocabulary.
        path: A vocabulary; empty: none.
        num_tokens: At most so many tokens.
        context: The words of a window.
    """
    words = _vocabulary(Path(path).expanduser()) if path else _frequent(train)
    known = [word for word in dict.fromkeys(words) if word not in (FILLING, UNKNOWN)][: num_tokens - 2]
    tokens = {word: place for place, word in enumerate([FILLING, UNKNOWN, *known])}
    learnt = () if path else ("the vocabulary",)

    def decode(x: Sequence[Any], _: Sequence[Any]) -> tuple[Array, Array]:
        said = [tokens.get(word, tokens[UNKNOWN]) for word in _said(x)]
        cut = windows(np.array(said, dtype=np.int64), context)  # [n, S + 1]
        return cut[:, :-1], cut[:, 1:]

    return Kind(decode, len(tokens), len(tokens), "language_model", learnt)


def _said(comments: Sequence[Any]) -> Iterator[str]:
    """Return the words of comments, one after the other, without what fills their last lines."""
    for comment in comments:
        for line in comment:
            for word in line:
                if not isinstance(word, str):
                    raise ValueError(f"a comment must be lists of words, got {shown(word)}")
                if word != FILLING:
                    yield word


def _frequent(train: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the words of training comments, the most frequent first, of equals the first in code."""
    counts: Counter[str] = Counter()
    for user, values in train.items():
        try:
            counts.update(_said(values["x"]))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"user {user!r}: {error}") from error
    return sorted(counts, key=lambda word: (-counts[word], word))


def _vocabulary(path: Path) -> list[str]:
    try:
        return read_bytes(path, 2**26).decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text: {error}") from error


def _pictures(folder: Path, side: int, names: Sequence[Any]) -> Array:
    """Return the pixels of pictures, red, green and blue.  # [n, 3, side, side]"""
    found = []
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"a picture must be the name of a file in {folder}, got {shown(name)}")
        try:
            found.append(decoded(read_bytes(folder / name, LARGEST_FILE), side, colour=True))
        except ValueError as error:
            raise ValueError(f"{folder / name}: {error}") from error
    return np.stack(found)


def _smiles(y: Sequence[Any]) -> Array:
    if wrong := [label for label in y if isinstance(label, bool) or label not in (0, 1)]:
        raise ValueError(f"a label must be 0 or 1, got {shown(wrong[0])}")
    return np.array(y, dtype=np.int64)


def _characters(x: Sequence[Any], y: Sequence[Any]) -> tuple[Array, Array]:
    pixels = np.array(x, dtype=np.float32)
    if pixels.shape != (len(x), SIDE * SIDE):
        raise ValueError(f"inputs must be lists of {SIDE * SIDE} numbers, got {list(pixels.shape)}")
    if ((pixels < 0) | (pixels > 1)).any():
        raise ValueError(f"pixels must be from 0 to 1, got {pixels.min():g} to {pixels.max():g}")
    if wrong := [label for label in y if type(label) is not int]:
        raise ValueError(f"labels must be whole numbers, got {shown(wrong[0])}")
    return pixels.reshape(-1, 1, SIDE, SIDE), np.array(y, dtype=np.int64)


def _letters(y: Sequence[str]) -> Array:
    """Return the tokens of labels, a letter each.  # [n]"""
    if wrong := [label for label in y if len(label) != 1]:
        raise ValueError(f"a label must be one letter, got {shown(wrong[0])}")
    return _texts(y)[:, 0]


def _texts(texts: Sequence[str]) -> Array:
    """Return the tokens of texts of one length; a letter that LEAF does not know is refused.  # [n, S]"""
    places = {letter: place for place, letter in enumerate(LETTERS)}
    if len({len(text) for text in texts}) != 1 or not texts[0]:
        raise ValueError("texts must be equally long, and not empty")
    if unknown := {letter for text in texts for letter in text} - places.keys():
        raise ValueError(f"letter {min(unknown)!r} is none of LEAF's {len(LETTERS)}")
    return np.array([[places[letter] for letter in text] for text in texts], dtype=np.int64)
