"""NF4: each value as one of sixteen quantiles of the normal distribution, in blocks of one scale.

Source: Dettmers, Pagnoni, Holtzman, Zettlemoyer. QLoRA: Efficient Finetuning of Quantized LLMs. NeurIPS 2023,
Section 3. arXiv:2305.14314. There it holds a frozen model's weights (``base = "nf4"`` of model ``lora``);
that it is put on the wire is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.normal_float import GROUP, Coded, coded, decoded, groups
from .parts.packing import (
    FIXED,
    Array,
    by_tensor,
    entropy,
    expect_length,
    expect_tag,
    finite_rows,
    from_tensors,
    pack_fixed,
    scales_of,
    unpack_fixed,
    with_scales,
)


@dataclass(frozen=True)
class NF4:
    """Send the nearest of sixteen levels of each value over its block's largest size.

    The levels are even in probability where a block's values are normal, as weights are; 0 is one of them.
    Of a long tensor, 4 + 8 / block + 32 / (256 block) bits a value: 4.127. Draws nothing, biased; it never
    loses more than the value itself. Meant for the way down (``codec_down``): parameters are normal.

    Attributes:
        block: Values that share a scale, at least 1; 64 is the paper's.
    """

    codec_id: ClassVar[int] = 42
    contractive: ClassVar[bool] = True

    block: int = 64

    def __post_init__(self) -> None:
        if self.block < 1:
            raise ValueError(f"block must be at least 1, got {self.block}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return, for every client and tensor, a float32 for 256 blocks, a byte a block, 4 bits a value."""

        def records(i: int, slot: Slot, rows: Array) -> list[Record]:
            finite, rows = finite_rows(np.ascontiguousarray(rows))
            found = coded(rows, self.block)
            packed = np.concatenate([found.steps, pack_fixed(found.codes, 4)], axis=1)
            bodies = with_scales(found.largest, finite, [row.tobytes() for row in packed])
            return [Record(i, FIXED, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return level times scale.  # [P]

        Raises:
            FrameError: Another tag or length, a scale that is not finite and at least 0, a group without a
                block of its largest scale, or a block whose largest code is not its scale.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        found: Array = decoded(self._read(record, numel), self.block)[0]
        return found

    def _read(self, record: Record, numel: int) -> Coded:
        expect_tag(record, FIXED)
        blocks, scales = groups(numel, self.block)
        expect_length(record.body, self.max_body((numel,)))
        largest, head = scales_of(record, scales), 4 * scales
        steps = np.frombuffer(record.body[head : head + blocks], np.uint8)
        codes = unpack_fixed(record.body[head + blocks :], numel, 4)
        for number, scale in enumerate(largest):
            own = steps[GROUP * number : GROUP * (number + 1)]
            if int(own.max(initial=0)) != (255 if scale > 0 else 0):
                raise FrameError(
                    f"tensor {record.tensor_id}: no block has the largest scale of its group, {scale:g}"
                )
        return Coded(largest[None], steps[None], codes[None])

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        blocks, scales = groups(prod(shape), self.block)
        return 4 * scales + blocks + -(-prod(shape) // 2)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of codes and of blocks' scales, and 32 for each group."""
        read = [self._read(record, record.numel) for record in records]
        return sum(entropy(c.codes[0]) + entropy(c.steps[0]) + 32.0 * c.largest.size for c in read)
