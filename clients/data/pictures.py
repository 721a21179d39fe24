"""From picture files to pixels of one size, within bounds: a small file may unpack to gigabytes."""

from io import BytesIO
from typing import Any

import numpy as np

from .base import Array

LARGEST_FILE = 2**26  # bytes
MOST_PIXELS = 2**26
LARGEST_SIDE = 2048
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")


def decoded(content: bytes, side: int = 0, colour: bool = False) -> Array:
    """Return the pixels of a picture file, uint8.  # [C, H, W]

    Args:
        content: The file's bytes.
        side: H and W that it is brought to; 0: as it is.
        colour: Whether a grey picture becomes red, green and blue, too.

    Raises:
        ValueError: No picture, a damaged one, one of too many pixels, or of a mode without 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(content)) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels, at most {MOST_PIXELS} are read")
            return pixels(picture, side, colour)
    except (OSError, SyntaxError, MemoryError, EOFError, TypeError, Image.DecompressionBombError) as error:
        raise ValueError(f"no whole picture: {error}") from error


def pixels(picture: Any, side: int = 0, colour: bool = False) -> Array:
    """Return a picture of Pillow's as pixels, as ``decoded`` does.  # [C, H, W]"""
    if picture.mode not in (*_GREY, *_COLOUR):
        raise ValueError(
            f"a picture's mode must be one of {', '.join((*_GREY, *_COLOUR))}, got {picture.mode}"
        )
    plain = picture.convert("L" if picture.mode in _GREY and not colour else "RGB")
    if side:
        plain = plain.resize((side, side))
    array = np.asarray(plain, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
