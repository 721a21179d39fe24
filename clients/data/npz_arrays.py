"""Arrays of your own: an ``.npz`` file of NumPy, read without unpickling."""

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError, unknown
from ...core.live import class_of, is_live
from .base import Array, Dataset
from .held import NEEDED, OPTIONAL, held_arrays
from .pile import Told, dataset_of

LARGEST = 2**34  # bytes of all arrays, unpacked
_UNREADABLE = (OSError, ValueError, EOFError, OverflowError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class NpzArrays:
    """Images, features, series or tokens as ``x`` [n, ...] and ``y`` [n], or targets ``y`` [n, D].

    ``x`` is uint8 (pixels, channels first: [n, C, H, W]), real numbers, which become float32, or, with
    ``num_tokens``, integers. ``y`` is integers from 0, the classes, or real numbers, a regression. ``test_x``
    and ``test_y`` are the test set; without them a share of the rows is held out. ``client`` [n] says whose a
    training row is (partition ``natural``). Nothing is scaled, so that nothing is learnt from the rows but
    how many classes there are: name ``num_classes`` where a privacy mechanism is on.

    Attributes:
        path: The file; a relative path counts from the working folder. In Python arrays, too.
        test_share: Share of the rows that is held out where the file has no test set, between 0.05 and 0.95:
            the same rows in every run, and of each client its own share.
        num_classes: C, above every label; 0: the largest label and 1. 0 for a regression.
        num_tokens: Tokens are from 0 to below it; 0 where ``x`` are no tokens.
        low: The least value that an input can take, in the units of ``x`` (pixels: 0).
        high: The largest, above ``low``; both 0: the least and the largest of the file.
    """

    path: str
    test_share: float = 0.2
    num_classes: int = 0
    num_tokens: int = 0
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        _ = self._told

    @property
    def _told(self) -> Told:
        size = self.num_classes, self.num_tokens, self.low, self.high
        name = class_of(self.path) if is_live(self.path) else Path(self.path).name.partition(".")[0]
        return Told(name, self.path, self.test_share, *size, option="npz: num_classes")

    def load(self) -> Dataset:
        return dataset_of(_read(self.path), self._told)


def _read(path: str) -> dict[str, Array]:
    """Return the arrays of a file.

    Raises:
        DataError: No such file, none of NumPy's, arrays of objects, others than are known, too large ones.
    """
    return _checked(path, held_arrays(path) if is_live(path) else _of_file(path))


def _of_file(path: str) -> dict[str, Array]:
    place = Path(path).expanduser()
    if not place.is_file():
        raise DataError(f"there is no file {path} (working folder {Path.cwd()})")
    try:
        with zipfile.ZipFile(place) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > LARGEST:
            raise DataError(f"{path} holds {size} bytes, at most {LARGEST} are read")
        with np.load(place, allow_pickle=False) as found:
            _check_names(path, found.files)
            arrays = {name: found[name] for name in found.files}
        if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{odd[0]} is no array")
    except _UNREADABLE as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} is no .npz file of plain arrays: {line}") from error
    return arrays


def _check_names(path: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in (*NEEDED, *OPTIONAL):
            raise DataError(f"{path}: {unknown('array', name, (*NEEDED, *OPTIONAL))}")


def _checked(path: str, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return arrays of known names that hold something.

    Raises:
        DataError: Others, or too few.
    """
    _check_names(path, arrays)
    if few := [f"{name} {list(a.shape)}" for name, a in arrays.items() if not a.ndim or not a.size]:
        raise DataError(f"{path} must hold arrays [n, ...] of at least one number, got {few[0]}")
    lacks = [name for name in NEEDED if name not in arrays]
    lacks += [
        name
        for name in ("test_x", "test_y")
        if name not in arrays and len({"test_x", "test_y"} & set(arrays)) == 1
    ]
    if lacks:
        raise DataError(f"{path} has no array {' and '.join(lacks)}; it has {', '.join(arrays) or 'none'}")
    return arrays
