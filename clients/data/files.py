"""Where data files lie, and what to say when they do not.

A data set ``mnist`` is a folder ``mnist`` in the first of these that holds all its files: the folder named
by the environment variable ``GAUNTLET_DATA``, ``shared/data`` beside the checkout, the cache (``gauntlet``
under ``XDG_CACHE_HOME``, or under ``~/.cache``).
"""

import os
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Array
from .unpacking import read_bytes


def cache_root() -> Path:
    """Return the folder for what we fetched or unpacked ourselves."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gauntlet"


def data_roots() -> list[Path]:
    """Return the folders that are searched, in order."""
    given = os.environ.get("GAUNTLET_DATA")
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return [*([Path(given).expanduser()] if given else []), beside, cache_root()]


def find_folder(name: str, files: Sequence[str]) -> Path | None:
    """Return the first folder of data set ``name`` that holds all of ``files``, or None."""
    return next((r / name for r in data_roots() if all((r / name / f).is_file() for f in files)), None)


def missing(name: str, files: Sequence[str], how: str) -> DataError:
    """Return the error that says which files were looked for, where, and how to get or name them."""
    places = ", ".join(str(root / name) for root in data_roots())
    given = os.environ.get("GAUNTLET_DATA")
    now = repr(given) if given else "not set"
    return DataError(
        f"{name}: no folder holds {', '.join(files)} (looked in {places}); set $GAUNTLET_DATA, now {now}, "
        f"to the folder in which a folder '{name}' holds them, or {how}"
    )


def read_idx(path: Path, most: tuple[int, ...]) -> Array:
    """Return the unsigned bytes of a gzipped idx file.

    Source: LeCun, Cortes, Burges. The MNIST database of handwritten digits ("the IDX file format").

    Args:
        path: The file.
        most: The largest size of each of its dimensions.

    Raises:
        DataError: Another magic number, sizes beyond ``most``, or another length than the header says.
    """
    head, magic = 4 + 4 * len(most), bytes([0, 0, 8, len(most)])
    content = read_bytes(path, head + prod(most))
    if content[:4] != magic or len(content) < head:
        raise DataError(
            f"{path} is not an idx file of bytes: starts with {content[:4].hex()}, must be {magic.hex()}"
        )
    shape = tuple(int(v) for v in np.frombuffer(content, ">u4", len(most), 4))
    if any(size > allowed for size, allowed in zip(shape, most, strict=True)):
        raise DataError(f"{path}: its header says {list(shape)}, allowed at most {list(most)}")
    if len(content) - head != prod(shape):
        raise DataError(
            f"{path} holds {len(content) - head} bytes, but its header says {list(shape)} = {prod(shape)}"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def read_array(path: Path, shape: tuple[int, ...]) -> Array | None:
    """Return a cached uint8 array, or None if there is none of that shape. Never unpickles."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # a header that promises more is refused unread
    except (OSError, ValueError, EOFError, TypeError, RecursionError, MemoryError):
        return None
    return np.array(array) if array.dtype == np.uint8 and array.shape == shape else None


def write_array(path: Path, array: Array) -> None:
    """Write an array at once or not at all; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            try:
                np.save(part, array, allow_pickle=False)
                part.close()
                os.replace(part.name, path)
            except BaseException:
                os.unlink(part.name)
                raise
    except OSError:
        return
