"""LEAF's JSON files: FEMNIST, CelebA, Shakespeare and Reddit, with their users as clients.

Source: Caldas, Duddu, Wu, Li, Konecny, McMahan, Smith, Talwalkar. LEAF: A Benchmark for Federated
Settings. 2018, arXiv:1812.01097; the files that its ``preprocess.sh`` writes: ``users``, ``num_samples``,
``user_data``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.errors import DataError, said
from .base import Array, Dataset
from .leaf_examples import Kind, celeba, femnist, reddit, shakespeare
from .pictures import LARGEST_SIDE
from .pile import Told, dataset_of
from .unpacking import read_bytes

LARGEST = 2**32  # bytes of one file
LARGEST_VOCABULARY = 2**20
KINDS = ("femnist", "celeba", "shakespeare", "reddit")


@dataclass(frozen=True)
class Leaf:
    """Users as natural clients, in the order of the files.

    FEMNIST (a writer is a client): inputs float32 [1, 28, 28] from 0 to 1 as the file has them, 62 classes.
    CelebA (a celebrity): pixels uint8 [3, side, side] of the pictures that the file names, and whether the
    face smiles. Shakespeare (a role): the tokens of a text, int64 [S], and as class the character that
    follows, of 80. Reddit (an author): a language model of words. An author's comments stand one after the
    other, each between ``<BOS>`` and ``<EOS>``, without LEAF's filling, and are cut into windows of
    ``context`` words; the answer at each is the word that follows.

    Attributes:
        path: The folder with ``train`` and ``test``, each with ``.json`` files (or ``.json.gz``); without
            ``test`` a share of each user's examples is held out.
        kind: What the files hold.
        test_share: That share, between 0.05 and 0.95.
        users: At most so many users, the first ones; 0: all.
        images: CelebA's folder of pictures; empty: ``raw/img_align_celeba`` in ``path``.
        side: Height and width that CelebA's pictures are brought to, from 1 to 2048; LEAF's are 84.
        vocabulary: Of Reddit, a text file with a word a line, the most frequent first; empty: the words of
            the training comments by their frequency, as LEAF's ``build_vocab`` takes them, and no epsilon
            (``fitted_inputs``).
        num_tokens: Of Reddit, how many tokens there are at most, above 4: filling, the unknown word, and the
            first ones of the vocabulary.
        context: Of Reddit, S, the words of a window, from 1 to 1000.
    """

    path: str
    kind: Literal["femnist", "celeba", "shakespeare", "reddit"] = "femnist"
    test_share: float = 0.2
    users: int = 0
    images: str = ""
    side: int = 84
    vocabulary: str = ""
    num_tokens: int = 10_000
    context: int = 10

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got '{self.kind}'")
        if self.users < 0:
            raise ValueError(f"users must be at least 0, got {self.users}")
        if not 1 <= self.side <= LARGEST_SIDE:
            raise ValueError(f"side must be in [1, {LARGEST_SIDE}], got {self.side}")
        if not 4 < self.num_tokens <= LARGEST_VOCABULARY:
            raise ValueError(f"num_tokens must be in [5, {LARGEST_VOCABULARY}], got {self.num_tokens}")
        if not 1 <= self.context <= 1000:
            raise ValueError(f"context must be in [1, 1000], got {self.context}")
        _ = Told(self.kind, self.path, self.test_share)

    @property
    def pictures(self) -> Path:
        """CelebA's folder of pictures."""
        own = Path(self.path) / "raw" / "img_align_celeba"
        return (Path(self.images) if self.images else own).expanduser()

    def load(self) -> Dataset:
        root = Path(self.path).expanduser()
        every = self._examples(root / "train")
        train = {name: every[name] for name in list(every)[: self.users or None]}
        kind = self._kind(train)
        parts = {name: self._arrays(kind, name, values) for name, values in train.items()}
        parts = {name: (x, y) for name, (x, y) in parts.items() if len(y)}
        if not parts:
            raise DataError(f"{root / 'train'} has no user with examples")
        arrays = {
            "x": np.concatenate([x for x, _ in parts.values()]),
            "y": np.concatenate([y for _, y in parts.values()]),
            "client": np.repeat(np.arange(len(parts)), [len(y) for _, y in parts.values()]),
        }
        if (root / "test").is_dir():
            held = self._examples(root / "test")
            tests = [self._arrays(kind, name, held[name]) for name in parts if name in held]
            if not sum(len(y) for _, y in tests):
                raise DataError(f"{root / 'test'} holds no example of the users of {root / 'train'}")
            arrays |= {f"test_{k}": np.concatenate([t[i] for t in tests]) for i, k in enumerate("xy")}
        high = 0.0 if kind.num_tokens else 1.0
        told = Told(self.kind, self.path, self.test_share, kind.num_classes, kind.num_tokens, 0.0, high)
        return replace(dataset_of(arrays, told), task=kind.task, fitted=kind.fitted)

    def _kind(self, train: dict[str, dict[str, Any]]) -> Kind:
        made: dict[str, Callable[[], Kind]] = {
            "femnist": femnist,
            "celeba": partial(celeba, self.pictures, self.side),
            "shakespeare": shakespeare,
            "reddit": partial(reddit, train, self.vocabulary, self.num_tokens, self.context),
        }
        return made[self.kind]()

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
            own = {user: values for user, values in own.items() if values.get("y")}
            if twice := sorted(found.keys() & own.keys()):
                raise DataError(
                    f"{file} has user '{twice[0]}', who stands in a file before it; allowed: in one"
                )
            found |= own
        return found

    def _arrays(self, kind: Kind, user: str, values: dict[str, Any]) -> tuple[Array, Array]:
        """Return one user's examples."""
        try:
            x, y = values["x"], values["y"]
            if len(x) != len(y):
                raise ValueError(f"{len(x)} inputs with {len(y)} labels")
            return kind.decode(x, y)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(f"{self.path}: user {user!r}: {said(error, named=False)}") from error
