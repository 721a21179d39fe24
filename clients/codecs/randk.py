"""Random-k: k coordinates of each tensor, from a stream that both sides know: no position is sent.

Source: Stich, Cordonnier, Jaggi. Sparsified SGD with Memory. NeurIPS 2018, Definition 2.2. arXiv:1809.07599
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout
from ...core.updates import Updates
from .parts.mismatches import CellMismatch, half_cells
from .parts.packing import Array, expect_tag, pack_halves, unpack_values

_SHARED = 0x40  # position code: the support follows from a stream
_VALUES = {"f32": (0x00, "<f4"), "f16": (0x01, "<f2")}  # value codes


@dataclass(frozen=True)
class RandK:
    """Send k = max(1, round(density n)) of a tensor's n coordinates, and nothing of the others.

    Times n / k it is unbiased, with an error of n / k - 1 times the squared length in expectation; unscaled
    it is biased and keeps k / n of the length, which error feedback repairs (with the scaled one it
    diverges). Positions cost no byte: they are the k least of n random words of a public stream.

    Attributes:
        density: The share of each tensor that is sent, above 0 and at most 1.
        scaled: Whether values are sent times n / k.
        shared_support: Whether all clients of a round send the same coordinates, or each its own.
        values: ``"f32"``, or ``"f16"``: rounded to the nearest half, and cut off at +-65504 (which biases).
    """

    codec_id: ClassVar[int] = 9

    density: float = 0.1
    scaled: bool = True
    shared_support: bool = True
    values: Literal["f32", "f16"] = "f32"

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be above 0 and at most 1, got {self.density}")

    @property
    def unbiased(self) -> bool:
        """Whether the decoded vector is the update in expectation."""
        return (self.scaled or self.density == 1) and self.values == "f32"

    @property
    def contractive(self) -> bool:
        """Whether the error is never longer than the update."""
        return not self.scaled or self.density == 1

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return the kept values of every client and tensor; draws nothing from private streams."""
        vectors = updates.vectors.detach().cpu().numpy()
        contexts = [streams.context(client) for client in updates.client_ids.tolist()]
        supports = self._supports(layout, contexts)
        code, _ = _VALUES[self.values]
        finite = np.isfinite(vectors).all(axis=1, keepdims=True)  # [K, 1]
        vectors = np.where(finite, vectors, np.float32(np.nan))

        def records(row: Array, support: Sequence[Array]) -> list[Record]:
            slots = enumerate(zip(layout.parameters, support, strict=True))
            kept = [(i, s, row[s.start + places] * self._factor(s.size)) for i, (s, places) in slots]
            return [Record(i, _SHARED | code, s.size, self._packed(values)) for i, s, values in kept]

        return [records(row, support) for row, support in zip(vectors, supports, strict=True)], None

    def _packed(self, values: Array) -> bytes:
        return (values.astype("<f4") if self.values == "f32" else pack_halves(values)).tobytes()

    def _factor(self, numel: int) -> np.float32:
        return np.float32(numel / max(self._count(numel), 1) if self.scaled else 1.0)

    def _count(self, numel: int) -> int:
        return min(numel, max(1, round(self.density * numel)))

    def _supports(self, layout: Layout, contexts: Sequence[CodecContext]) -> list[list[Array]]:
        """Return the ascending positions of each tensor for each of some frames of one round."""
        sizes = tuple((slot.size, self._count(slot.size)) for slot in layout.parameters)
        if self.shared_support and contexts:
            return [_common_support(contexts[0].seed, contexts[0].round, sizes)] * len(contexts)
        return [_support(sizes, context.stream) for context in contexts]

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the values at their positions, and zeros elsewhere.  # [P]

        Raises:
            FrameError: Another tag or length, or a value that is not finite.
        """
        code, dtype = _VALUES[self.values]
        vector = np.zeros(layout.num_parameters, dtype=np.float32)
        ((*support,),) = self._supports(layout, [context])
        for slot, record, places in zip(layout.parameters, records, support, strict=True):
            expect_tag(record, _SHARED | code)
            vector[slot.start + places] = unpack_values(record.body, len(places), dtype)
        return torch.from_numpy(vector)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update with these values; what was not sent may be anything."""
        decoded = self.decode(records, layout, context)
        below = torch.full_like(decoded, torch.inf)
        above = below.clone()
        ((*support,),) = self._supports(layout, [context])
        for slot, record, places in zip(layout.parameters, records, support, strict=True):
            low = high = torch.zeros(len(places))
            if self.values == "f16":
                low, high = half_cells(unpack_values(record.body, len(places), "<f2"))
            below[slot.start + places], above[slot.start + places] = low, high
        return CellMismatch.of(decoded, below, above)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return self._count(prod(shape)) * np.dtype(_VALUES[self.values][1]).itemsize

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the bits of the values: positions cost none."""
        return 8.0 * sum(len(record.body) for record in records)


@lru_cache(maxsize=2)
def _common_support(seed: int, round: int, sizes: tuple[tuple[int, int], ...]) -> list[Array]:
    """Return the positions that all frames of a round share."""
    return _support(sizes, CodecContext(seed, round, 0).common_stream)


def _support(sizes: tuple[tuple[int, int], ...], stream: Callable[[str], np.random.Generator]) -> list[Array]:
    """Return the ascending positions of the k least of n raw words for each (n, k); of equals, the first."""
    found = []
    for i, (numel, k) in enumerate(sizes):
        words = stream(f"support of tensor {i}").bit_generator.random_raw(numel)
        places = np.flatnonzero(words <= np.partition(words, k - 1)[k - 1]) if k else np.zeros(0, np.int64)
        if len(places) > k:  # equal words, once in 2^64 / n
            places = np.sort(np.argsort(words, kind="stable")[:k])
        found.append(places)
    return found
