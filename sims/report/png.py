"""Small pictures as PNG within a page, made without a drawing library.

Source: W3C, Portable Network Graphics (PNG) Specification (Third Edition), sections 5 and 11.
"""

import struct
import zlib
from base64 import b64encode
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LARGEST = 96  # pixels a side; larger examples are thinned out


def data_uri(example: Array) -> str:
    """Return an example, values in [0, 1], as a ``data:`` address of a PNG.

    Args:
        example: [H, W], [1, H, W], [3, H, W], or a row of features [D], drawn as a strip. Of any other shape
            the values are drawn as a strip too. NaN is drawn as black.
    """
    pixels = _pixels(np.nan_to_num(np.asarray(example, float), nan=0.0))
    step = max(1, -(-max(pixels.shape[:2]) // LARGEST))
    pixels = pixels[::step, ::step]
    whole = encoded((pixels.clip(0, 1) * 255).round().astype(np.uint8))
    return f"data:image/png;base64,{b64encode(whole).decode()}"


def _pixels(example: Array) -> Array:
    """Return an example as a picture.  # [H, W] or [H, W, 3]"""
    if example.ndim == 3 and len(example) == 3:
        return example.transpose(1, 2, 0)
    if example.ndim == 3 and len(example) == 1:
        return np.asarray(example[0])
    return example if example.ndim == 2 else example.reshape(1, -1)


def encoded(pixels: Array) -> bytes:
    """Return a picture as a PNG file: bytes, grey [H, W] or red, green and blue [H, W, 3]."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)  # each begins with its filter: none
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
