"""No compression: float32, little-endian, exact.

Source: the baseline of every table.
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
from .parts.packing import DENSE_F32, unpack_floats


@dataclass(frozen=True)
class Identity:
    """Send every coordinate as it is, NaN and infinities included: the round's finite check records them."""

    codec_id: ClassVar[int] = 0
    unbiased: ClassVar[bool] = True
    contractive: ClassVar[bool] = True
    additive: ClassVar[bool] = True
    lossless: ClassVar[bool] = True
    verbatim: ClassVar[bool] = True

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return 4 bytes an element."""
        vectors = updates.vectors.detach().cpu().numpy().astype("<f4", copy=False)  # [K, P]
        return [[_record(row, i, layout) for i in range(len(layout.parameters))] for row in vectors], None

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the vector [P] that was sent, to the last bit."""
        vector = np.empty(layout.num_parameters, dtype=np.float32)
        for slot, record in zip(layout.parameters, records, strict=True):
            if record.tag != DENSE_F32:
                raise FrameError(f"tensor {record.tensor_id}: tag {record.tag:#04x}, allowed 0x00")
            vector[slot.start : slot.start + slot.size] = unpack_floats(record.body, slot.size)
        return torch.from_numpy(vector)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 4 * prod(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits an element."""
        return 32.0 * sum(record.numel for record in records)


def _record(row: np.ndarray[tuple[int], np.dtype[np.float32]], i: int, layout: Layout) -> Record:
    slot = layout.parameters[i]
    return Record(i, DENSE_F32, slot.size, row[slot.start : slot.start + slot.size].tobytes())
