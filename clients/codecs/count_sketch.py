"""Count sketch: signed sums of coordinates in a few rows of cells, of which the heavy ones are read back.

Source: Charikar, Chen, Farach-Colton. Finding Frequent Items in Data Streams. ICALP 2002; Rothchild, Panda,
Ullah, Ivkin, Stoica, Braverman, Gonzalez, Arora. FetchSGD: Communication-Efficient Federated Learning with
Sketching. ICML 2020. arXiv:2007.07682
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.frames import Record, RecordShape
from ...core.layout import Layout
from ...core.sketches import Hashes
from ...core.updates import Updates
from .parts.images import ImageMismatch
from .parts.packing import DENSE_F32, Array, expect_tag, unpack_values


@dataclass(frozen=True)
class CountSketch:
    """Send S[j, h_j(i)] += s_j(i) x_i of the whole message x [M]; read the k largest medians over rows j.

    One row's error of a coordinate has the variance (||x||^2 - x_i^2) / cols; the median of rows leaves out
    those that a heavy coordinate fell into. The hashes h and signs s are common to all frames of a round.
    Each client's sketch is read by itself, and medians do not add up: FetchSGD's sum of all clients'
    sketches, with momentum and error kept as sketches at the server, is algorithm ``fetch_sgd``. It is biased
    and may lose more than all of an update, so that error feedback is refused around it.

    Attributes:
        rows: Rows of cells, at least 1; odd numbers have one median.
        ratio: Cells over coordinates, above 0 and at most 1: ``cols`` is max(1, round(ratio M / rows)).
        density: k over M, above 0 and at most 1, at least one coordinate.
    """

    codec_id: ClassVar[int] = 36

    rows: int = 5
    ratio: float = 0.5
    density: float = 0.01

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, got {self.rows}")
        for name, value in (("ratio", self.ratio), ("density", self.density)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return each client's cells, row by row; draws nothing from private streams."""
        numel = layout.num_parameters
        vectors = updates.vectors.detach().cpu().numpy()
        hashes = self._hashes(numel, streams.context(0))
        bodies = [hashes.sketch(row).astype("<f4").tobytes() for row in vectors]
        return [[Record(0, DENSE_F32, numel, body)] for body in bodies], None

    def _cols(self, numel: int) -> int:
        return max(1, round(self.ratio * numel / self.rows))

    def _hashes(self, numel: int, context: CodecContext) -> Hashes:
        return _hashes(context.seed, context.round, self.rows, self._cols(numel), numel)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the k largest medians at their coordinates, of equals the first, and zeros elsewhere.  # [M]

        Raises:
            FrameError: Another tag or length, or a cell that is not finite.
        """
        numel = layout.num_parameters
        k = min(numel, max(1, round(self.density * numel)))
        return torch.from_numpy(self._hashes(numel, context).heaviest(self._read(records[0], numel), k))

    def _read(self, record: Record, numel: int) -> Array:
        expect_tag(record, DENSE_F32)
        return unpack_values(record.body, self.rows * self._cols(numel), "<f4")

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> ImageMismatch:
        """Return 1 - cos between the cells and those of an update: what was read back tells less."""
        numel = layout.num_parameters
        hashes = self._hashes(numel, context)
        cells, signs = torch.from_numpy(hashes.cells), torch.from_numpy(hashes.signs)
        sketch = torch.from_numpy(self._read(records[0], numel).astype(np.float32))

        def image(updates: Tensor) -> Tensor:
            signed = (updates[..., None, :] * signs.float()).flatten(-2)
            return signed.new_zeros(*signed.shape[:-1], len(sketch)).index_add(-1, cells.flatten(), signed)

        return ImageMismatch.of(sketch, image)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return [RecordShape(0, (layout.num_parameters,))]

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 4 * self.rows * self._cols(prod(shape))

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a cell."""
        return 8.0 * sum(len(record.body) for record in records)


@lru_cache(maxsize=2)
def _hashes(seed: int, round: int, rows: int, cols: int, numel: int) -> Hashes:
    return Hashes.drawn(CodecContext(seed, round, 0).common_stream("count sketch"), rows, cols, numel)
