"""Data sets of the Hugging Face hub, or of a local folder: ``hf:name``, ``hf:user/name``, ``hf:folder``.

Source: Lhoest et al. Datasets: A Community Library for Natural Language Processing. EMNLP 2021, demos.
arXiv:2109.02846
"""

from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...core.errors import DataError, said, unknown
from .base import Array, Dataset
from .hub import offline
from .pile import Told, dataset_of

TOKENS = 257  # of text: 0 where it is over, and a byte and 1


@dataclass(frozen=True)
class HubTable:
    """Rows of a table: ``input`` is pictures, lists of numbers or text, ``label`` classes or real numbers.

    Pictures are pixels uint8, channels first, all of one size. Text becomes tokens: its UTF-8 bytes and 1,
    cut or filled with 0 to ``text_length``, which learns nothing from the rows.

    Attributes:
        input: The column of inputs; empty: the only one that is neither label nor client.
        label: The column of labels.
        client: The column that says whose a row is (partition ``natural``); empty: nobody's.
        config: The configuration's name; empty: the only one.
        split: The split of training rows.
        test_split: That of test rows; where there is none, a share of the rows is held out.
        test_share: That share, between 0.05 and 0.95.
        num_classes: C; 0: as the table says, or else the largest label and 1, and no epsilon
            (``fitted_inputs``).
        text_length: Tokens of a text, from 1 to 4096.
    """

    input: str = ""
    label: str = "label"
    client: str = ""
    config: str = ""
    split: str = "train"
    test_split: str = "test"
    test_share: float = 0.2
    num_classes: int = 0
    text_length: int = 128

    target = ""  # what stands behind "hf:"

    def __post_init__(self) -> None:
        if not 1 <= self.text_length <= 4096:
            raise ValueError(f"text_length must be in [1, 4096], got {self.text_length}")
        _ = self._told()

    def _told(self, classes: int = 0, tokens: int = 0) -> Told:
        name = Path(self.target).name or "hf"
        return Told(name, f"hf:{self.target}", self.test_share, self.num_classes or classes, tokens)

    def load(self) -> Dataset:
        splits = _splits(self.target, self.config)
        if self.split not in splits:
            raise DataError(f"hf:{self.target}: {unknown('split', self.split, splits)}")
        table = splits[self.split]
        for name in (self.label, *filter(None, (self.client, self.input))):
            if name not in table.column_names:
                raise DataError(f"hf:{self.target}: {unknown('column', name, table.column_names)}")
        column = self._input_column(table)
        arrays = self._arrays(table, column)
        if self.client:
            arrays["client"] = np.asarray(table[self.client])
        if self.test_split in splits and self.test_split != self.split:
            held = self._arrays(splits[self.test_split], column)
            arrays |= {f"test_{name}": value for name, value in held.items()}
        classes = getattr(table.features[self.label], "num_classes", None) or 0
        is_text = isinstance(table[0][column], str)
        return dataset_of(arrays, self._told(classes, TOKENS if is_text else 0))

    def _input_column(self, table: Any) -> str:
        left = [name for name in table.column_names if name not in (self.label, self.client)]
        if self.input or len(left) == 1:
            return self.input or left[0]
        raise DataError(f"hf:{self.target}: name the column of inputs, input = one of {', '.join(left)}")

    def _arrays(self, table: Any, column: str) -> dict[str, Array]:
        try:
            x = np.stack([_input(value, self.text_length) for value in table[column]])
            y = np.asarray(table[self.label])
        except (ValueError, TypeError) as error:
            raise DataError(
                f"hf:{self.target}: rows are of different shapes, or no numbers: {said(error)}"
            ) from error
        return {"x": x, "y": y}


def hub_dataset(target: str) -> type[HubTable]:
    """Return the data set behind ``hf:TARGET``; nothing is fetched yet."""
    made = make_dataclass("HubTable", [], bases=(HubTable,), namespace={"target": target}, frozen=True)
    made.__module__, made.__doc__ = __name__, HubTable.__doc__
    return cast(type[HubTable], made)


def _splits(target: str, config: str) -> Any:
    """Return the splits of a local folder, or of the hub.

    Raises:
        DataError: No such folder, and the hub may not be asked or has none.
    """
    from datasets import DatasetDict, disable_progress_bars, load_dataset, load_from_disk

    disable_progress_bars()
    place, named = Path(target).expanduser(), {"name": config} if config else {}
    if not place.is_dir() and offline():
        raise DataError(
            f"hf:{target}: there is no folder of that name (working folder {Path.cwd()}), and the hub is not "
            "asked: offline is set"
        )
    try:
        if (place / "state.json").is_file():
            return DatasetDict({"train": load_from_disk(str(place))})
        if (place / "dataset_dict.json").is_file():
            return load_from_disk(str(place))
        return load_dataset(str(place) if place.is_dir() else target, **named)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        raise DataError(f"hf:{target} cannot be loaded: {said(error)}") from error


def _input(value: Any, length: int) -> Array:
    """Return one input: pixels channels first, numbers, or the tokens of a text."""
    if isinstance(value, str):
        codes = [byte + 1 for byte in value.encode()[:length]]
        return np.array(codes + [0] * (length - len(codes)), dtype=np.int64)
    array = np.asarray(value)
    if hasattr(value, "getbands"):
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return array.reshape(1) if array.ndim == 0 else array
