"""Top-k: the k largest coordinates of each tensor, with their positions.

Source: Aji, Heafield. Sparse Communication for Distributed Gradient Descent. EMNLP 2017, Section 3.
arXiv:1704.05021; Lin, Han, Mao, Wang, Dally. Deep Gradient Compression. ICLR 2018. arXiv:1712.01887
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log, prod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.mismatches import CellMismatch, half_cells
from .parts.packing import Array, by_tensor, pack_halves, unpack_values
from .parts.rice import max_positions, pack_positions, unpack_positions
from .parts.selection import largest

_BITMAP, _RICE = 0x20, 0x30  # position codes
_VALUES = {"f32": (0x00, "<f4"), "f16": (0x01, "<f2")}  # value codes


@dataclass(frozen=True)
class TopK:
    """Send the largest coordinates of a tensor by size, and nothing of the others.

    Of n elements k = max(1, round(density n)) are kept; of equal ones those of the lowest position. Biased:
    what is small stays at home in every round, unless error feedback is put around it. A tensor that is not
    finite is sent with values that no decoder accepts.

    Attributes:
        density: The share of each tensor that is sent, above 0 and at most 1.
        values: ``"f32"``, or ``"f16"``: rounded to the nearest half, and cut off at +-65504.
        pack: Positions as Golomb-Rice gaps (``"rice"``), as one bit an element (``"bitmap"``), or whichever
            takes fewer bytes (``"auto"``).
    """

    codec_id: ClassVar[int] = 8
    contractive: ClassVar[bool] = True

    density: float = 0.01
    values: Literal["f32", "f16"] = "f32"
    pack: Literal["rice", "bitmap", "auto"] = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be above 0 and at most 1, got {self.density}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return positions and values for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            return [self._record(i, *kept, slot.size) for kept in self._kept(block)]

        return by_tensor(updates, layout, records), None

    def _kept(self, block: Array) -> list[tuple[Array, Array]]:
        """Return (positions [k], values [k]) of one tensor for each of K clients."""
        finite = np.asarray(np.isfinite(block).all(axis=1))  # [K]
        places = largest(np.where(finite[:, None], block, np.float32(0)), self._count(block.shape[1]))
        values = np.where(finite[:, None], np.take_along_axis(block, places, axis=1), np.float32(np.nan))
        return list(zip(places, values, strict=True))

    def _count(self, numel: int) -> int:
        return min(numel, max(1, round(self.density * numel)))

    def _record(self, tensor_id: int, places: Array, values: Array, numel: int) -> Record:
        code, _ = _VALUES[self.values]
        packed = values.astype("<f4") if self.values == "f32" else pack_halves(values)
        candidates = [(_RICE, pack_positions(places, numel))] if self.pack != "bitmap" else []
        if self.pack != "rice":
            candidates.append((_BITMAP, np.packbits(np.bincount(places, minlength=numel) > 0).tobytes()))
        tag, positions = min(candidates, key=lambda c: len(c[1]))
        return Record(tensor_id, tag | code, numel, positions + packed.tobytes())

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the values at their positions, and zeros elsewhere.  # [P]

        Raises:
            FrameError: A tag that these options do not give, another number of positions than k, or a body
                that no encoder makes.
        """
        vector = np.zeros(layout.num_parameters, dtype=np.float32)
        for slot, record in zip(layout.parameters, records, strict=True):
            places, values = self._read(record, slot.size)
            vector[slot.start + places] = values
        return torch.from_numpy(vector)

    def support(self, records: Sequence[Record], layout: Layout) -> Tensor:
        """Return where the values stand, bool.  # [P]"""
        kept = torch.zeros(layout.num_parameters, dtype=torch.bool)
        for slot, record in zip(layout.parameters, records, strict=True):
            kept[torch.from_numpy(slot.start + self._read(record, slot.size)[0])] = True
        return kept

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update with these values, and nothing larger beside them.

        On what was sent that is 1 - cos; a coordinate that was not is at most the least that was.
        """
        below = torch.empty(layout.num_parameters)
        above = torch.empty(layout.num_parameters)
        for slot, record in zip(layout.parameters, records, strict=True):
            places, values = self._read(record, slot.size)
            where = slice(slot.start, slot.start + slot.size)
            low = high = torch.zeros(len(values))
            if self.values == "f16":
                low, high = half_cells(values)
            sizes = torch.from_numpy(np.abs(values)) + torch.maximum(low, high)
            below[where] = above[where] = float(sizes.min()) if len(sizes) else 0.0
            below[slot.start + places], above[slot.start + places] = low, high
        return CellMismatch.of(self.decode(records, layout, context), below, above)

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        code, dtype = _VALUES[self.values]
        kinds = {"rice": (_RICE,), "bitmap": (_BITMAP,), "auto": (_RICE, _BITMAP)}[self.pack]
        if record.tag not in [kind | code for kind in kinds]:
            names = ", ".join(f"{kind | code:#04x}" for kind in kinds)
            raise FrameError(f"tensor {record.tensor_id}: tag {record.tag:#04x}, allowed {names}")
        read = unpack_positions if record.tag & 0xF0 == _RICE else _read_bitmap
        places, at = read(record.body, numel)
        if len(places) != self._count(numel):
            raise FrameError(
                f"tensor {record.tensor_id}: {len(places)} positions, expected {self._count(numel)}"
            )
        return places, unpack_values(record.body[at:], len(places), dtype)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        return max_positions(numel) + self._count(numel) * int(_VALUES[self.values][1][2])

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return log2 of the number of supports, and the width of k values, summed over tensors."""
        width = 8 * int(_VALUES[self.values][1][2])
        return sum(_support_bits(r.numel, k := self._count(r.numel)) + k * width for r in records)


def _read_bitmap(body: bytes, numel: int) -> tuple[Array, int]:
    length = -(-numel // 8)
    if len(body) < length:
        raise FrameError(f"bitmap: {len(body)} bytes, expected at least {length}")
    bits = np.unpackbits(np.frombuffer(body[:length], dtype=np.uint8))
    if bits[numel:].any():
        raise FrameError("bitmap: padding bits are not zero")
    return np.flatnonzero(bits), length


def _support_bits(numel: int, k: int) -> float:
    """Return log2 of the binomial coefficient of k among n."""
    return (lgamma(numel + 1) - lgamma(k + 1) - lgamma(numel - k + 1)) / log(2)
