"""A data file's content, never more of it than was expected: a small file may unpack to gigabytes."""

import gzip
import lzma
import zlib
from collections import OrderedDict
from pathlib import Path

from ...core.errors import DataError

_XZ_MEMORY = 2**28  # bytes that unpacking may take; xz -9 takes 2^26
_KEPT: OrderedDict[tuple[Path, int, int, int, int, int], bytes] = OrderedDict()
_MOST_KEPT = 2**26  # bytes: MNIST's images take 55 MB


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a plain file, or of one packed as its name says (``.gz``, ``.xz``).

    What was unpacked last is kept, 64 MiB of it, for as long as its file stays as it is: a matrix asks for
    the same data before every run.

    Args:
        path: The file.
        most: The largest content, in bytes.

    Raises:
        DataError: More than that; or a packed file that is cut short or damaged.
    """
    try:
        content = _unpacked(path, most) if path.suffix in _READERS else _plain(path, most)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError) as error:
        kind = {".gz": "gzip ", ".xz": "xz "}.get(path.suffix, "")
        raise DataError(f"{path} is not a whole {kind}file: {error}") from error
    if len(content) > most:
        raise DataError(f"{path} holds more than {most} bytes, which is all that was expected")
    return content


def _unpacked(path: Path, most: int) -> bytes:
    state = path.stat()
    key = (path, most, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    content = _KEPT.pop(key, None)
    if content is None:
        content = _READERS[path.suffix](path, most)
    _KEPT[key] = content
    while sum(map(len, _KEPT.values())) > _MOST_KEPT:
        _KEPT.popitem(last=False)
    return content


def _plain(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most + 1)


def _gzip(path: Path, most: int) -> bytes:
    with gzip.open(path) as file:
        return file.read(most + 1)


def _xz(path: Path, most: int) -> bytes:
    packed = _plain(path, most + most // 8 + 2**16)  # what cannot be packed grows by less
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    content = bytearray(unpacking.decompress(packed, most + 1))
    while not unpacking.eof and len(content) <= most:
        more = unpacking.decompress(b"", most + 1 - len(content))
        if not more and not unpacking.eof:
            raise EOFError("it ends too early")
        content += more
    return bytes(content)


_READERS = {".gz": _gzip, ".xz": _xz}
