"""Data sets of the Hugging Face hub, or of a local folder: ``hf:name``, ``hf:user/name``, ``hf:folder``.

Source: Lhoest et al. Datasets: A Community Library for Natural Language Processing. EMNLP 2021, demos.
arXiv:2109.02846
"""

from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...core.errors import DataError, said, unknown
from .base import Array, Dataset
from .columns import codes, sorted_words
from .hub import hub_splits
from .hub_folder import folder_splits, picture_of
from .pictures import LARGEST_SIDE, decoded, pixels
from .pile import Told, dataset_of

TOKENS = 257  # of text: 0 where it is over, and a byte and 1


@dataclass(frozen=True)
class HubTable:
    """Rows of a table: ``input`` is pictures, lists of numbers or text, ``label`` classes or real numbers.

    Pictures are pixels uint8, channels first, all of one size. Text becomes tokens: its UTF-8 bytes and 1,
    cut or filled with 0 to ``text_length``, which learns nothing from the rows.

    Attributes:
        input: The column of inputs; empty: the only one that is neither label nor client.
        label: The column of labels: classes from 0, words, or real numbers.
        client: The column that says whose a row is (partition ``natural``); empty: nobody's.
        config: The configuration's name; empty: the only one.
        split: The split of training rows.
        test_split: That of test rows; where there is none, a share of the rows is held out.
        test_share: That share, between 0.05 and 0.95.
        users: At most so many clients, the first ones of the table; 0: all. A test split stays whole.
        side: Height and width that pictures are brought to, at most 2048; 0: as they are.
        classes: The words of the label in the order of the classes; empty: those that occur, sorted, and no
            epsilon (``fitted_inputs``).
        num_classes: C; 0: as the table or ``classes`` says, or else the largest label and 1, and no epsilon.
        text_length: Tokens of a text, from 1 to 4096.
    """

    input: str = ""
    label: str = "label"
    client: str = ""
    config: str = ""
    split: str = "train"
    test_split: str = "test"
    test_share: float = 0.2
    users: int = 0
    side: int = 0
    classes: tuple[str, ...] = ()
    num_classes: int = 0
    text_length: int = 128

    target = ""  # what stands behind "hf:"

    def __post_init__(self) -> None:
        if not 1 <= self.text_length <= 4096:
            raise ValueError(f"text_length must be in [1, 4096], got {self.text_length}")
        if not 0 <= self.side <= LARGEST_SIDE:
            raise ValueError(f"side must be in [0, {LARGEST_SIDE}], got {self.side}")
        if self.users < 0 or (self.users and not self.client):
            raise ValueError(f"users must be at least 0, and 0 without a client column, got {self.users}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: a value stands there twice, got {', '.join(self.classes)}")
        _ = self._told()

    def _told(self, classes: int = 0, tokens: int = 0) -> Told:
        name = Path(self.target).name or "hf"
        return Told(name, f"hf:{self.target}", self.test_share, self.num_classes or classes, tokens)

    def load(self) -> Dataset:
        splits = _splits(self.target, self.config)
        if self.split not in splits:
            raise DataError(f"hf:{self.target}: {unknown('split', self.split, splits)}")
        train = splits[self.split]
        for name in (self.label, *filter(None, (self.client, self.input))):
            if name not in train.column_names:
                raise DataError(f"hf:{self.target}: {unknown('column', name, train.column_names)}")
        column = self._input_column(train)
        owners = np.asarray(train[self.client]) if self.client else None
        if owners is not None and self.users:
            first = list(dict.fromkeys(owners.tolist()))[: self.users]
            rows = np.flatnonzero(np.isin(owners, first))
            train, owners = train.select(rows), owners[rows]
        tables = {"": train}
        if self.test_split in splits and self.test_split != self.split:
            tables["test_"] = splits[self.test_split]
        arrays = {f"{which}x": self._inputs(table, column) for which, table in tables.items()}
        count, fitted, labels = self._labels(tables)
        if owners is not None:
            arrays["client"] = owners
        is_text = getattr(train.features[column], "dtype", "") in ("string", "large_string")
        data = dataset_of(arrays | labels, self._told(count, TOKENS if is_text else 0))
        return replace(data, fitted=(*data.fitted, *fitted))

    def _input_column(self, table: Any) -> str:
        left = [name for name in table.column_names if name not in (self.label, self.client)]
        if self.input or len(left) == 1:
            return self.input or left[0]
        raise DataError(f"hf:{self.target}: name the column of inputs, input = one of {', '.join(left)}")

    def _inputs(self, table: Any, column: str) -> Array:
        folder = Path(self.target).expanduser()
        if folder.is_dir():
            table = _undecoded(table, column, self.target)
        try:
            return np.stack([self._input(value, folder) for value in table[column]])
        except (ValueError, TypeError) as error:
            raise DataError(
                f"hf:{self.target}: rows are of different shapes, or no numbers: {said(error, named=False)}"
            ) from error

    def _input(self, value: Any, folder: Path) -> Array:
        """Return one input: pixels channels first, numbers, or the tokens of a text."""
        if isinstance(value, str):
            tokens = [byte + 1 for byte in value.encode()[: self.text_length]]
            return np.array(tokens + [0] * (self.text_length - len(tokens)), dtype=np.int64)
        if isinstance(value, dict):
            return decoded(picture_of(value, folder), self.side)
        if hasattr(value, "getbands"):
            return pixels(value, self.side)
        array = np.asarray(value)
        return array.reshape(1) if array.ndim == 0 else array

    def _labels(self, tables: dict[str, Any]) -> tuple[int, tuple[str, ...], dict[str, Array]]:
        """Return the number of classes (0: not known), what was learnt, and the labels of each table."""
        try:
            found = {f"{which}y": np.asarray(table[self.label]) for which, table in tables.items()}
        except (ValueError, TypeError) as error:
            raise DataError(f"hf:{self.target}: labels are of different shapes: {said(error)}") from error
        if not self.classes and found["y"].dtype.kind != "U":
            return getattr(tables[""].features[self.label], "num_classes", None) or 0, (), found
        if any(y.dtype.kind not in "Uiub" for y in found.values()):
            raise DataError(f"hf:{self.target}: labels must be words, or whole numbers, in every row")
        words = {name: y.astype(str) for name, y in found.items()}
        classes = np.array(self.classes or sorted_words(words["y"]))
        learnt = () if self.classes else ("the classes",)
        source = f"hf:{self.target}"
        return len(classes), learnt, {name: codes(source, y, classes) for name, y in words.items()}


def hub_dataset(target: str) -> type[HubTable]:
    """Return the data set behind ``hf:TARGET``; nothing is fetched yet."""
    made = make_dataclass("HubTable", [], bases=(HubTable,), namespace={"target": target}, frozen=True)
    made.__module__, made.__doc__ = __name__, HubTable.__doc__
    return cast(type[HubTable], made)


def _splits(target: str, config: str) -> Any:
    """Return the splits of a local folder, or of the hub.

    Raises:
        DataError: No such folder, and it is no name on the hub, or that may not be asked or has none.
    """
    from datasets import disable_progress_bars

    disable_progress_bars()
    place = Path(target).expanduser()
    try:
        return folder_splits(place, config) if target and place.is_dir() else hub_splits(target, config)
    except (KeyboardInterrupt, DataError):
        raise
    except Exception as error:
        raise DataError(f"hf:{target} cannot be loaded: {said(error)}") from error


def _undecoded(table: Any, column: str, target: str) -> Any:
    """Return a table whose pictures stay bytes or paths: what a folder names is looked at before it is read.

    Raises:
        DataError: The column holds something else that the library would decode, from wherever it lies.
    """
    from datasets import Image

    feature = table.features[column]
    if isinstance(feature, Image):
        return table.cast_column(column, Image(decode=False))
    if _is_decoded(feature):
        raise DataError(f"hf:{target}: column '{column}' must be pictures, numbers or text, got {feature}")
    return table


def _is_decoded(feature: Any) -> bool:
    """Return whether the library decodes a column, or parts of it."""
    parts = feature.values() if isinstance(feature, dict) else feature if isinstance(feature, list) else ()
    inner = getattr(feature, "feature", None)
    own = hasattr(feature, "decode_example")
    return own or any(map(_is_decoded, parts)) or (inner is not None and _is_decoded(inner))
