"""How long frames are at most."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ....core.contracts import Codec
from ....core.frames import OVERHEAD, RecordShape, one_a_tensor, uvarint
from ....core.layout import Layout
from ....core.presence import by_level, reduced
from ....core.updates import Updates


def max_frame(codec: Codec, layout: Layout) -> int:
    """Return the length of the longest legal frame, in bytes."""
    return longest_of(codec, codec.records(layout))


def longest_frames(codec: Codec, layout: Layout, updates: Updates) -> np.ndarray[Any, Any]:
    """Return the length of the longest legal frame of each client's, in bytes, int64.  # [K]"""
    sizes = np.empty(len(updates), dtype=np.int64)
    if updates.presence is None:
        sizes[:] = max_frame(codec, layout)
        return sizes
    for present, rows in by_level(updates.presence):
        sizes[rows.numpy()] = max_frame(codec, reduced(layout, present))
    return sizes


def float_frame(layout: Layout) -> int:
    """Return the length of a frame that holds every tensor in float32, in bytes."""
    return _length(one_a_tensor(layout), lambda shape: 4 * prod(shape))


def longest_of(codec: Codec, shapes: Sequence[RecordShape]) -> int:
    """Return the length of the longest legal frame of records of these shapes, in bytes."""
    return _length(shapes, codec.max_body)


def _length(shapes: Sequence[RecordShape], body_of: Callable[[tuple[int, ...]], int]) -> int:
    length = OVERHEAD
    for record in shapes:
        body = body_of(record.shape)
        length += len(uvarint(record.tensor_id)) + 1 + len(uvarint(record.numel)) + len(uvarint(body)) + body
    return length
