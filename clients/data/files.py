"""Where data files lie, and what to say when they do not.

A data set ``mnist`` is a folder ``mnist`` in the first of these that holds all its files: the folder named
by the environment variable ``GAUNTLET_DATA``, ``shared/data`` beside the checkout, the cache (``gauntlet``
under ``XDG_CACHE_HOME``, or under ``~/.cache``).
"""

import gzip
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Array


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
    """Return the error that says which files were looked for, where, and how to get them."""
    places = ", ".join(str(root / name) for root in data_roots())
    return DataError(f"{name}: no folder holds {', '.join(files)} (looked in {places}); {how}")


def read_gzip(path: Path) -> bytes:
    """Return a gzip file's content.

    Raises:
        DataError: Not gzip, cut short, or damaged.
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error


def read_idx(path: Path, ndim: int) -> Array:
    """Return the unsigned bytes of a gzipped idx file with ``ndim`` dimensions.

    Source: LeCun, Cortes, Burges. The MNIST database of handwritten digits ("the IDX file format").

    Raises:
        DataError: Another magic number, or another length than the header says.
    """
    content = read_gzip(path)
    head, magic = 4 + 4 * ndim, bytes([0, 0, 8, ndim])
    if content[:4] != magic or len(content) < head:
        raise DataError(
            f"{path} is not an idx file of bytes: starts with {content[:4].hex()}, must be {magic.hex()}"
        )
    shape = tuple(int(v) for v in np.frombuffer(content, ">u4", ndim, 4))
    expected = int(np.prod(shape, dtype=object))
    if len(content) - head != expected:
        raise DataError(
            f"{path} holds {len(content) - head} bytes, but its header says {list(shape)} = {expected}"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def read_array(path: Path, shape: tuple[int, ...]) -> Array | None:
    """Return a cached uint8 array, or None if there is none of that shape. Never unpickles."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.shape == shape
    return array if fits else None


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
