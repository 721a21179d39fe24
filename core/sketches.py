"""Count sketches: signed sums of coordinates in a few rows of cells, of which the heavy ones are read back.

Source: Charikar, Chen, Farach-Colton. Finding Frequent Items in Data Streams. ICALP 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Hashes:
    """Into which cell of every row each coordinate falls, and with which sign.

    Attributes:
        cells: Counted over all rows, int64.  # [rows, M]
        signs: -1 or 1, int8.  # [rows, M]
        size: The cells of all rows, rows * cols.
    """

    cells: Array
    signs: Array
    size: int

    @classmethod
    def drawn(cls, stream: np.random.Generator, rows: int, cols: int, numel: int) -> Hashes:
        """Draw them coordinate by coordinate.

        With the usual linear hashes mod 2^64 the error of one draw is right in the mean and varies by three
        times itself from draw to draw.
        """
        words = stream.bit_generator.random_raw(rows * numel).reshape(rows, numel)
        cells = ((words >> np.uint64(32)) * np.uint64(cols) >> np.uint64(32)).astype(np.int64)
        signs = np.where(words & np.uint64(1), -1, 1).astype(np.int8)
        return cls(cells + cols * np.arange(rows)[:, None], signs, rows * cols)

    def sketch(self, vector: Array) -> Array:
        """Return the cells of a vector [M], float32; NaN of one that is not finite.  # [size]"""
        if not np.isfinite(vector).all():
            return np.full(self.size, np.nan, dtype=np.float32)
        weights = (self.signs * vector.astype(np.float64)).ravel()
        sums = np.bincount(self.cells.ravel(), weights=weights, minlength=self.size)
        return np.clip(sums, -_LARGEST, _LARGEST).astype(np.float32)

    def heaviest(self, sketch: Array, count: int) -> Array:
        """Return the largest medians over rows in their places, of equals the first; else 0.  # [M]"""
        medians = np.median(sketch.astype(np.float64)[self.cells] * self.signs, axis=0)
        medians = np.clip(medians, -_LARGEST, _LARGEST).astype(np.float32)
        kept = np.argsort(-np.abs(medians), kind="stable")[:count]
        found = np.zeros(self.cells.shape[1], dtype=np.float32)
        found[kept] = medians[kept]
        return found
