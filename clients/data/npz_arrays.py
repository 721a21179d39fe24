"""Arrays of your own: an ``.npz`` file of NumPy, read without unpickling."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError, unknown
from .base import Array, Dataset, Targets
from .held_out import held_out

LARGEST = 2**34  # bytes of all arrays, unpacked
NEEDED, OPTIONAL = ("x", "y"), ("test_x", "test_y", "client")
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
        path: The file; a relative path counts from the working folder.
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
        if not 0.05 <= self.test_share <= 0.95:
            raise ValueError(f"test_share must be in [0.05, 0.95], got {self.test_share}")
        if self.num_classes < 0 or self.num_tokens < 0:
            raise ValueError("num_classes and num_tokens must be at least 0")
        if not (self.low < self.high < np.inf and self.low > -np.inf) and (self.low, self.high) != (0, 0):
            raise ValueError(f"high must be above low, both finite, got {self.low} and {self.high}")

    def load(self) -> Dataset:
        arrays = _read(self.path)
        owners = arrays.get("client")
        arrays |= {name: self._inputs(name, arrays[name]) for name in ("x", "test_x") if name in arrays}
        arrays |= {name: _labels(self.path, name, arrays[name]) for name in ("y", "test_y") if name in arrays}
        x, y, test_x, test_y = self._split(arrays, owners)
        if owners is not None and "test_x" not in arrays:
            owners = owners[~held_out(owners, self.test_share)]
        real = y.dtype == np.float32
        outputs = tuple(f"y{i}" for i in range(y.shape[1])) if real else ()
        count = 0 if real else self.num_classes or int(max(y.max(initial=0), test_y.max(initial=0))) + 1
        return Dataset(
            name=Path(self.path).name.partition(".")[0],
            x=x,
            y=y,
            test_x=test_x,
            test_y=test_y,
            num_classes=count,
            value_range=self._range(x, test_x),
            groups=owners,
            targets=Targets(outputs) if real else None,
            num_tokens=self.num_tokens,
            fitted=() if self.num_classes or real else ("the number of classes (npz: num_classes)",),
        )

    def _inputs(self, name: str, x: Array) -> Array:
        """Return inputs as a data set holds them."""
        if x.ndim < 2:
            raise DataError(f"{self.path}: {name} must be [n, ...], got {list(x.shape)}")
        if self.num_tokens:
            if x.dtype.kind not in "iu":
                raise DataError(f"{self.path}: {name} must be integers with num_tokens, got {x.dtype}")
            return x.astype(np.int64)
        if x.dtype.kind not in "fiu":
            raise DataError(f"{self.path}: {name} must be numbers, got {x.dtype}")
        return x if x.dtype == np.uint8 else x.astype(np.float32)

    def _split(self, arrays: dict[str, Array], owners: Array | None) -> tuple[Array, Array, Array, Array]:
        """Return the training and the test set."""
        x, y = arrays["x"], arrays["y"]
        if len(x) != len(y) or (owners is not None and owners.shape != (len(x),)):
            lengths = ", ".join(f"{name} {len(a)}" for name, a in arrays.items() if "test" not in name)
            raise DataError(f"{self.path}: x, y and client must be equally long, got {lengths}")
        if "test_x" in arrays:
            return x, y, arrays["test_x"], arrays["test_y"]
        out = held_out(np.zeros(len(x), np.int64) if owners is None else owners, self.test_share)
        if out.all() or not out.any():
            raise DataError(f"{self.path}: {len(x)} rows are too few to hold {self.test_share:g} of them out")
        return x[~out], y[~out], x[out], y[out]

    def _range(self, x: Array, test_x: Array) -> tuple[float, float]:
        if x.dtype == np.uint8 or self.num_tokens:
            return 0.0, 1.0
        if self.low < self.high:
            return self.low, self.high
        return float(min(x.min(), test_x.min())), float(max(x.max(), test_x.max()))


def _labels(path: str, name: str, y: Array) -> Array:
    """Return classes int64 [n, ...], or targets float32 [n, D]."""
    if y.dtype.kind in "iub":
        return y.astype(np.int64)
    if y.dtype.kind != "f" or y.ndim > 2:
        raise DataError(
            f"{path}: {name} must be integers or real numbers [n, D], got {y.dtype} {list(y.shape)}"
        )
    return y.astype(np.float32).reshape(len(y), -1)


def _read(path: str) -> dict[str, Array]:
    """Return the arrays of a file.

    Raises:
        DataError: No such file, none of NumPy's, arrays of objects, others than are known, too large ones.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise DataError(f"there is no file {path} (working folder {Path.cwd()})")
    try:
        with zipfile.ZipFile(place) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > LARGEST:
            raise DataError(f"{path} holds {size} bytes, at most {LARGEST} are read")
        with np.load(place, allow_pickle=False) as found:
            for name in found.files:
                if name not in (*NEEDED, *OPTIONAL):
                    raise DataError(f"{path}: {unknown('array', name, (*NEEDED, *OPTIONAL))}")
            arrays = {name: found[name] for name in found.files}
        if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{odd[0]} is no array")
    except _UNREADABLE as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} is no .npz file of plain arrays: {line}") from error
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
