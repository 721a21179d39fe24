"""What a deterministic quantiser says of an update: between which neighbours of its level each value lies.

Source: as ``mismatches``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .mismatches import CellMismatch

if TYPE_CHECKING:
    from ....core.frames import Record
    from ....core.layout import Layout
    from .packing import Array


def nearest(block: Array, levels: Array) -> Array:
    """Return which of its row's ascending levels [K, L] each value is nearest to, uint8.  # [K, n]

    Of two equally near the higher.
    """
    edges = (levels[:, 1:].astype(np.float64) + levels[:, :-1]) / 2
    codes = np.zeros(block.shape, np.uint8)
    for edge in edges.astype(np.float32).T:
        codes += block >= edge[:, None]
    return codes


def midpoints(levels: Array, codes: Array) -> tuple[Array, Array, Array]:
    """Return levels [L], the edges of what is nearest to each [L + 1], infinite at the ends, and codes."""
    wide = levels.astype(np.float64)
    return levels, np.concatenate([[-np.inf], (wide[1:] + wide[:-1]) / 2, [np.inf]]), codes


def mismatch_of(
    records: Sequence[Record], layout: Layout, read: Callable[[Record, int], tuple[Array, Array, Array]]
) -> CellMismatch:
    """Return the distance to the nearest update of which every value lies between the edges of its level.

    Args:
        records, layout: A legal frame's.
        read: From a record and its number of elements to (levels [L], ascending edges [L + 1], codes
            [numel]).
    """
    decoded, below, above = (torch.zeros(layout.num_parameters, dtype=torch.float64) for _ in range(3))
    for slot, record in zip(layout.parameters, records, strict=True):
        where = slice(slot.start, slot.start + slot.size)
        levels, edges, codes = read(record, slot.size)
        wide = levels.astype(np.float64)
        decoded[where] = torch.from_numpy(wide[codes])
        below[where] = torch.from_numpy(np.maximum(wide - edges[:-1], 0)[codes])
        above[where] = torch.from_numpy(np.maximum(edges[1:] - wide, 0)[codes])
    return CellMismatch.of(decoded.float(), below, above)
