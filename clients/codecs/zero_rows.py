"""Zero rows left out: of every tensor which rows are not 0, and those, exact.

Source: none; what algorithms send that train some output channels alone, such as FedSkel (arXiv:2108.09081).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout
from ...core.updates import Updates
from .parts.packing import Array, by_tensor, unpack_floats

ROWS, ONE_VALUE = 0x60, 0x61


@dataclass(frozen=True)
class ZeroRows:
    """Send one bit a row of each tensor, and its rows that are not 0 as float32, to the last bit.

    A row is what one first index holds: an output channel of a weight, an entry of a bias. Where everything
    that is not left out is one and the same number, as in a mask, it is sent once.
    """

    codec_id: ClassVar[int] = 45
    unbiased: ClassVar[bool] = True
    contractive: ClassVar[bool] = True
    lossless: ClassVar[bool] = True

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return ceil(rows / 8) bytes a tensor and 4 an element of a row that is not 0; draws nothing."""
        return by_tensor(
            updates, layout, lambda i, slot, block: [_record(i, slot.shape, row) for row in block]
        ), None

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the vector [M] that was sent, to the last bit.

        Raises:
            FrameError: Another tag or length, or a body that no encoder makes.
        """
        vector = np.zeros(layout.num_parameters, dtype=np.float32)
        for slot, record in zip(layout.parameters, records, strict=True):
            named, values = _read(record, slot.shape)
            vector[slot.start : slot.start + slot.size].reshape(len(named), _wide(slot.shape))[named] = values
        return torch.from_numpy(vector)

    def support(self, records: Sequence[Record], layout: Layout) -> Tensor:
        """Return which coordinates lie in rows that were sent, bool.  # [M]"""
        found = [
            np.repeat(_read(record, slot.shape)[0], _wide(slot.shape))
            for slot, record in zip(layout.parameters, records, strict=True)
        ]
        return torch.from_numpy(np.concatenate(found))

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return -(-_rows(shape) // 8) + 4 * prod(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return a bit a row, and 32 a number that is sent."""
        found = 0
        for slot, record in zip(layout.parameters, records, strict=True):
            rows = _rows(slot.shape)
            found += rows + 8 * (len(record.body) - -(-rows // 8))
        return float(found)


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else 1


def _wide(shape: tuple[int, ...]) -> int:
    return prod(shape[1:])


def _record(i: int, shape: tuple[int, ...], flat: Array) -> Record:
    rows = np.ascontiguousarray(flat, dtype="<f4").reshape(_rows(shape), _wide(shape))
    bits = rows.view("<u4")
    named = (bits != 0).any(axis=1)  # by bits: -0.0 is sent
    sent = bits[named]
    same = sent.size > 1 and bool((sent == sent.flat[0]).all())
    body = (sent.ravel()[:1] if same else sent).tobytes()
    return Record(i, ONE_VALUE if same else ROWS, flat.size, np.packbits(named).tobytes() + body)


def _read(record: Record, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return which rows are named, bool [rows], and their values [named, n], or one for all [1, 1]."""
    if record.tag not in (ROWS, ONE_VALUE):
        raise FrameError(
            f"tensor {record.tensor_id}: tag {record.tag:#04x}, allowed {ROWS:#04x}, {ONE_VALUE:#04x}"
        )
    rows, head = _rows(shape), -(-_rows(shape) // 8)
    bits = np.unpackbits(np.frombuffer(record.body[:head], dtype=np.uint8))
    if len(record.body) < head or bits[rows:].any():
        raise FrameError(f"tensor {record.tensor_id}: rows are named by {rows} bits, padded with zeros")
    named = bits[:rows].astype(bool)
    count, wide = int(named.sum()), _wide(shape)
    only = record.tag == ONE_VALUE
    values = unpack_floats(record.body[head:], 1 if only else count * wide)
    sent = values.reshape(1, 1) if only else values.reshape(count, wide)
    whole = sent.view("<u4")
    fits = bool((whole != 0).any(axis=1).all()) and (
        count * wide > 1 if only else count * wide < 2 or bool((whole != whole.flat[0]).any())
    )
    if not fits:
        raise FrameError(f"tensor {record.tensor_id}: a body that no encoder makes")
    return named, sent
