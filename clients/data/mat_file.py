"""Arrays of numbers in a MAT-file of MATLAB, level 5: unpacked within bounds, and nothing but arrays.

Source: The MathWorks. MAT-File Format, chapter 1 (level 5). A header of 128 bytes, and elements of a tag
(type and size) and a body; an array is the element 14, and element 15 is one packed by zlib.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from ...core.errors import DataError, said
from .base import Array
from .unpacking import read_bytes

HEADER = 128  # bytes
ARRAY, PACKED = 14, 15
FLAGS = struct.pack("<I", 6)
"""The type of an array's first part, whose first byte is the array's class."""
NUMBERS = tuple(bytes([code]) for code in range(6, 16))
"""The classes of arrays of numbers, from float64 to uint64."""


def read_mat(path: Path, names: Sequence[str], most: int) -> dict[str, Array]:
    """Return arrays of a file by their names.

    Args:
        path: The file.
        names: Of the arrays that are wanted.
        most: The largest content in bytes, unpacked.

    Raises:
        DataError: No file of level 5, one that is cut short or damaged, unpacks to more, or lacks an array.
    """
    from scipy.io import loadmat

    content = read_bytes(path, most)
    try:
        # scipy believes the sizes that elements name: it is handed elements that were unpacked and are whole
        plain = BytesIO(content[:HEADER] + b"".join(_elements(content, most)))
        found = loadmat(plain, variable_names=list(names), mat_dtype=False)
    except Exception as error:
        raise DataError(f"{path} is no whole MAT-file of level 5: {said(error)}") from error
    for name in names:
        array = found.get(name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
            raise DataError(f"{path} must hold an array of numbers '{name}'")
    return {name: found[name] for name in names}


def _elements(content: bytes, most: int) -> Iterator[bytes]:
    """Return the arrays of a file, each an element with its tag, unpacked.

    Raises:
        ValueError: Another header or order of bytes, an element that is cut short, or more than ``most``.
    """
    if len(content) < HEADER or content[124:128] != b"\x00\x01IM":
        raise ValueError("its header is another, or of another order of bytes")
    place, left = HEADER, most
    while place < len(content):
        body, place = _body(content, place, (ARRAY, PACKED))
        if body[0] == PACKED:
            unpacking = zlib.decompressobj()
            element = unpacking.decompress(body[1], left + 1)
            if len(element) > left:
                raise ValueError(f"it unpacks to more than {most} bytes")
            body, _ = _body(element, 0, (ARRAY,))
        left -= len(body[1])
        if body[1][:4] != FLAGS or body[1][8:9] not in NUMBERS:
            continue  # a cell or a structure may hold others without end
        yield struct.pack("<II", ARRAY, len(body[1])) + body[1]


def _body(content: bytes, place: int, kinds: Sequence[int]) -> tuple[tuple[int, bytes], int]:
    """Return an element's type and body, and where the next one begins."""
    if place + 8 > len(content):
        raise ValueError("it ends within a tag")
    kind, size = struct.unpack_from("<II", content, place)
    body = content[place + 8 : place + 8 + size]
    if kind not in kinds or len(body) < size:
        raise ValueError(
            f"an element of type {kind} and {size} bytes has {len(body)} bytes; types: {list(kinds)}"
        )
    return (kind, body), place + 8 + size
