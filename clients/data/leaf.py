"""LEAF's JSON files: FEMNIST (a writer is a client) and Shakespeare (a role is a client).

Source: Caldas, Duddu, Wu, Li, Konecny, McMahan, Smith, Talwalkar. LEAF: A Benchmark for Federated
Settings. 2018, arXiv:1812.01097; the files that its ``preprocess.sh`` writes: ``users``, ``num_samples``,
``user_data``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.errors import DataError, said, shown
from .base import Array, Dataset
from .pile import Told, dataset_of
from .unpacking import read_bytes

LARGEST = 2**32  # bytes of one file
CLASSES = 62  # of FEMNIST: digits, upper and lower case
LETTERS = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
"""Of Shakespeare, as LEAF's ``language_utils.ALL_LETTERS`` has them: the tokens, and the classes."""
SIDE = 28  # pixels of a character


@dataclass(frozen=True)
class Leaf:
    """Users as natural clients, in the order of the files; nothing is learnt from their examples.

    FEMNIST: inputs float32 [1, 28, 28] from 0 to 1 as the file has them, 62 classes. Shakespeare: the tokens
    of a text, int64 [S], and as class the character that follows, of 80.

    Attributes:
        path: The folder with ``train`` and ``test``, each with ``.json`` files (or ``.json.gz``); without
            ``test`` a share of each user's examples is held out.
        kind: What the files hold.
        test_share: That share, between 0.05 and 0.95.
        users: At most so many users, the first ones; 0: all.
    """

    path: str
    kind: Literal["femnist", "shakespeare"] = "femnist"
    test_share: float = 0.2
    users: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("femnist", "shakespeare"):
            raise ValueError(f"kind must be one of femnist, shakespeare; got '{self.kind}'")
        if self.users < 0:
            raise ValueError(f"users must be at least 0, got {self.users}")
        _ = self._told

    @property
    def _told(self) -> Told:
        text = self.kind == "shakespeare"
        classes, tokens = (len(LETTERS), len(LETTERS)) if text else (CLASSES, 0)
        return Told(self.kind, self.path, self.test_share, classes, tokens, 0.0, 0.0 if text else 1.0)

    def load(self) -> Dataset:
        root = Path(self.path).expanduser()
        train = self._examples(root / "train")
        names = list(train)[: self.users or None]
        parts = [self._arrays(name, train[name]) for name in names]
        if not parts:
            raise DataError(f"{root / 'train'} has no user with examples")
        arrays = {
            "x": np.concatenate([x for x, _ in parts]),
            "y": np.concatenate([y for _, y in parts]),
            "client": np.repeat(np.arange(len(parts)), [len(y) for _, y in parts]),
        }
        if (root / "test").is_dir():
            held = self._examples(root / "test")
            tests = [self._arrays(name, held[name]) for name in names if name in held]
            if not tests:
                raise DataError(f"{root / 'test'} holds no example of the users of {root / 'train'}")
            arrays |= {f"test_{k}": np.concatenate([t[i] for t in tests]) for i, k in enumerate("xy")}
        return dataset_of(arrays, self._told)

    def _examples(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Return each user's ``x`` and ``y``, users in the order of the files; those without any left out."""
        files = sorted([*folder.glob("*.json"), *folder.glob("*.json.gz")])
        if not files:
            raise DataError(f"{folder} holds no .json file of LEAF (working folder {Path.cwd()})")
        found: dict[str, dict[str, Any]] = {}
        for file in files:
            try:
                table = json.loads(read_bytes(file, LARGEST))
                own = {str(user): dict(table["user_data"][user]) for user in table["users"]}
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DataError(f"{file} is no file of LEAF: {said(error)}") from error
            found |= {user: values for user, values in own.items() if values.get("y")}
        return found

    def _arrays(self, user: str, values: dict[str, Any]) -> tuple[Array, Array]:
        """Return one user's examples."""
        try:
            x, y = values["x"], values["y"]
            if len(x) != len(y):
                raise ValueError(f"{len(x)} inputs with {len(y)} labels")
            return (_texts(x), _letters(y)) if self.kind == "shakespeare" else _characters(x, y)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise DataError(f"{self.path}: user {user!r}: {said(error, named=False)}") from error


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
