"""TernGrad: every coordinate as -1, 0 or 1 at random, and one scale a tensor.

Source: Wen, Xu, Yan, Wu, Wang, Chen, Li. TernGrad: Ternary Gradients to Reduce Communication in
Distributed Deep Learning. NeurIPS 2017, Section 3. arXiv:1705.07878
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.options import later
from ...core.trees import State
from ...core.updates import Updates
from .parts import packing
from .parts.agreed_scales import agreed, counted, nothing_stated, stated
from .parts.huffman import ZLIB, max_huffman, pack_huffman, unpack_huffman
from .parts.mismatches import CellMismatch, TernaryMismatch
from .parts.packing import BASE3, DENSE_F32, TWO_BIT, Array
from .parts.rice import RICE_SIGNS, max_rice, pack_rice, unpack_rice

_TAGS = {
    "base3": (BASE3,),
    "two_bit": (TWO_BIT,),
    "rice": (RICE_SIGNS,),
    "huffman": (ZLIB,),
    "auto": (BASE3, RICE_SIGNS, ZLIB),
}


def _unpack_huffman(body: bytes, numel: int) -> Array:
    return packing.unpack_base3(unpack_huffman(body, BASE3, -(-numel // 5)), numel)


_PACK: dict[int, Callable[[Array], Iterable[Array | bytes]]] = {
    BASE3: packing.pack_base3,
    TWO_BIT: packing.pack_two_bit,
    RICE_SIGNS: lambda codes: map(pack_rice, codes),
    ZLIB: lambda codes: pack_huffman(packing.pack_base3(codes), BASE3),
}
_UNPACK = {
    BASE3: packing.unpack_base3,
    TWO_BIT: packing.unpack_two_bit,
    RICE_SIGNS: unpack_rice,
    ZLIB: _unpack_huffman,
}
_UNPACK_ROWS = {BASE3: packing.unpack_base3_rows, TWO_BIT: packing.unpack_two_bit_rows}
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TernGrad:
    """Send sign(g) with probability |g| / s, else 0, where s is the tensor's scale.

    Three estimators were published, and options say which one is used. The paper's: ``scale = "max"`` with
    ``share_scales = true`` (a round late here: see there). The authors' code's: ``scale = "cstd"`` with it.
    GRACE's, and that of the defaults: each client scales by its own tensor. Unbiased for the clipped tensor,
    and without clipping for the tensor itself, if s is its own; the error is then s * ||g||_1 - ||g||_2^2 in
    expectation. A tensor that is not finite is sent with a scale that no decoder accepts.

    Attributes:
        clip: Bound on each coordinate (the paper's c), in units of the tensor's ``sd``; at least 0, and 0
            clips nothing. Clipping shortens skewed updates: compare with 0 on heterogeneous data.
        sd: ``"rms"`` about zero, or ``"std"`` about the mean (the paper's; it sends a constant tensor as 0).
        scale: s is the largest clipped coordinate (``"max"``, the paper's), the bound itself (``"cstd"``,
            the authors' code; needs ``clip`` above 0), or ``theta`` whatever the tensor (``"fixed"``).
        theta: s of ``"fixed"``, above 0, in units of the update; else None.
        share_scales: Whether all clients code with one scale a tensor, the largest that was stated in the
            round before (in the first one each with its own); larger coordinates count as that. A client
            that states 1e30 then turns the others' codes to 0: ``"capped"`` takes 3 times the median at most.
            The codec then remembers scales, which leaves no epsilon where rounds are amplified.
        size_to_binarize: Tensors of fewer elements are sent as they are, in float32.
        pack: ``"base3"`` (1.6 bits an element), ``"two_bit"`` (2), ``"rice"`` (positions and signs),
            ``"huffman"`` (base3's bytes behind a Huffman code: within a percent of the entropy of large
            tensors) or ``"auto"`` (the smallest of base3, rice and huffman, tensor by tensor). Rice and
            Huffman are packed client by client.
    """

    codec_id: ClassVar[int] = 3

    clip: float = 2.5
    sd: Literal["rms", "std"] = "rms"
    scale: Literal["max", "cstd", "fixed"] = "max"
    theta: float | None = later(None)
    share_scales: Literal[False, True, "capped"] = later(False)
    size_to_binarize: int = 0
    pack: Literal["base3", "two_bit", "rice", "huffman", "auto"] = "base3"

    def __post_init__(self) -> None:
        for name in ("clip", "size_to_binarize"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.scale == "cstd" and self.clip == 0:
            raise ValueError("scale 'cstd' is clip * sd: it needs clip above 0, got 0")
        if (self.scale == "fixed") != (self.theta is not None):
            raise ValueError(f"theta belongs to scale 'fixed', and it needs one; got theta {self.theta}")
        if self.theta is not None and not 0 < self.theta <= _LARGEST:
            raise ValueError(f"theta must be above 0 and at most {_LARGEST:.4g}, got {self.theta}")
        if self.share_scales and self.scale == "fixed":
            raise ValueError("scale 'fixed' is the same for all: leave out share_scales")

    @property
    def unbiased(self) -> bool:
        """Whether the decoded vector is the update in expectation: clipping is not undone."""
        return self.clip == 0 and self.scale != "fixed" and not self.share_scales

    @property
    def share(self) -> Callable[[Tensor, Tensor, State], State] | None:
        """The scales that all clients will code with.  # [T]"""
        if not self.share_scales:
            return None
        return lambda _params, _aggregate, state: agreed(state, self.share_scales == "capped")

    @property
    def settle(self) -> Callable[[State, Sequence[int]], State] | None:
        return counted if self.share_scales else None

    def init(self) -> State:
        return nothing_stated() if self.share_scales else None

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return a scale and packed codes for every client and tensor; draws P uniforms a client."""
        ids = updates.client_ids.tolist()
        generators = [streams(client) for client in ids]
        common = self._common(layout, streams.shared)

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            uniforms: Array = np.empty(block.shape, dtype=np.float32)
            for row, generator in zip(uniforms, generators, strict=True):
                generator.random(out=row, dtype=np.float32)
            bodies = self._bodies(block, uniforms, common[i])
            return [Record(i, tag, slot.size, body) for tag, body in bodies]

        rows = packing.by_tensor(updates, layout, records)
        if not self.share_scales:
            return rows, None
        return rows, stated(state, ids, torch.from_numpy(self._stated(rows)))

    def _common(self, layout: Layout, shared: State) -> list[float]:
        """Return the scale that all clients code a tensor with, by tensor; 0: each with its own."""
        number = len(layout.parameters)
        if self.theta is not None:
            return [float(np.float32(self.theta))] * number
        agreed_on = shared is not None and self.share_scales and len(shared) == number
        return shared.tolist() if agreed_on else [0.0] * number

    def _stated(self, rows: Sequence[Sequence[Record]]) -> Array:
        """Return the scales at the beginning of bodies, 0 of tensors that are sent as they are.  # [K, T]"""
        plain = [record.numel < self.size_to_binarize for record in rows[0]] if rows else []
        heads = [b"".join(r.body[:4] for r in row if r.numel >= self.size_to_binarize) for row in rows]
        scales = np.zeros((len(rows), len(plain)), dtype=np.float32)
        coded = np.flatnonzero(~np.array(plain, dtype=bool))
        scales[:, coded] = np.frombuffer(b"".join(heads), dtype="<f4").reshape(len(rows), len(coded))
        return scales

    def _bodies(self, block: Array, uniforms: Array, common: float) -> list[tuple[int, bytes]]:
        """Return (tag, body) of one tensor for each of K clients."""
        if block.shape[1] < self.size_to_binarize:
            return [(DENSE_F32, row.tobytes()) for row in packing.pack_floats(block)]
        scales, codes = self._ternary(block, uniforms, common)
        heads = packing.pack_floats(scales[:, None])  # [K, 4]
        tags = _TAGS[self.pack]
        candidates = zip(*(_PACK[tag](codes) for tag in tags), strict=True)
        chosen = [min(zip(tags, row, strict=True), key=lambda c: len(c[1])) for row in candidates]
        return [(tag, head.tobytes() + bytes(body)) for head, (tag, body) in zip(heads, chosen, strict=True)]

    def _ternary(self, block: Array, uniforms: Array, common: float) -> tuple[Array, Array]:
        """Return the scales, float32 [K], and codes -1, 0, 1, int8 [K, n], drawn with ``common`` or these."""
        finite = np.asarray(np.isfinite(block).all(axis=1))  # [K]
        if not finite.all():
            block = np.where(finite[:, None], block, np.float32(0))
        bounds = self._bounds(block)
        sizes = np.minimum(np.abs(block), bounds[:, None])  # |g_c|  [K, n]
        scales = bounds if self.scale == "cstd" else sizes.max(axis=1, initial=np.float32(0))
        if self.theta is not None:
            scales = np.full_like(scales, common)
        divisors = np.full_like(scales, common) if common else scales
        with np.errstate(over="ignore"):
            np.divide(sizes, divisors[:, None], out=sizes, where=divisors[:, None] > 0)
        codes = np.less(uniforms, sizes).view(np.int8)
        np.negative(codes, out=codes, where=block < 0)
        return np.where(finite, scales, np.float32(np.nan)), codes

    def _bounds(self, block: Array) -> Array:
        """Return clip * sd of each row, summed in float64 so that 1e30 is no special case.  # [K]"""
        rows, numel = block.shape
        if self.clip == 0 or numel == 0:
            return np.full(rows, _LARGEST if self.clip == 0 else 0, dtype=np.float32)
        wide = block.astype(np.float64, order="C")
        if self.sd == "std":
            wide -= wide.mean(axis=1, keepdims=True)
        sd = np.sqrt(np.square(wide, out=wide).sum(axis=1) / numel)
        bounds: Array = np.minimum(self.clip * sd, _LARGEST).astype(np.float32)
        return bounds

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return scale * codes [P]: finite, from nothing but the records.

        Raises:
            FrameError: A tag that these options do not give, a body that no encoder makes, or a scale
                that is not finite or below 0.
        """
        vector = np.empty(layout.num_parameters, dtype=np.float32)
        common = self._common(layout, context.shared)
        for slot, record, scale in zip(layout.parameters, records, common, strict=True):
            vector[slot.start : slot.start + slot.size] = self._values(record, slot.size, scale)
        return torch.from_numpy(vector)

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor:
        """Return ``decode`` of several frames at once.  # [K, P]

        Raises:
            FrameError: One of them is bad.
        """
        vectors = np.empty((len(cohort), layout.num_parameters), dtype=np.float32)
        common = self._common(layout, contexts[0].shared if contexts else None)
        for i, slot in enumerate(layout.parameters):
            column = [records[i] for records in cohort]
            vectors[:, slot.start : slot.start + slot.size] = self._block(column, slot.size, common[i])
        return torch.from_numpy(vectors)

    def _block(self, column: Sequence[Record], numel: int, common: float) -> Array:
        """Return one tensor of each of K frames: together where codes are all packed alike.  # [K, n]"""
        unpack = _UNPACK_ROWS.get(column[0].tag)
        alike = all(record.tag == column[0].tag for record in column) and column[0].tag in _TAGS[self.pack]
        if unpack is None or not alike or common or numel < self.size_to_binarize:
            return np.stack([self._values(record, numel, common) for record in column])
        scales = np.stack([packing.unpack_floats(record.body[:4], 1) for record in column])  # [K, 1]
        if not np.isfinite(scales).all() or np.signbit(scales).any():
            raise FrameError("a scale is not finite and at least 0")
        scaled: Array = unpack([record.body[4:] for record in column], numel) * scales
        return scaled

    def _values(self, record: Record, numel: int, common: float) -> Array:
        plain = numel < self.size_to_binarize
        allowed = (DENSE_F32,) if plain else _TAGS[self.pack]
        if record.tag not in allowed:
            names = ", ".join(f"{tag:#04x}" for tag in allowed)
            raise FrameError(f"tensor {record.tensor_id}: tag {record.tag:#04x}, allowed {names}")
        if plain:
            values = packing.unpack_floats(record.body, numel)
            if not np.isfinite(values).all():
                raise FrameError(f"tensor {record.tensor_id}: a value is not finite")
            return values
        scale = packing.unpack_floats(record.body[:4], 1)[0]
        if not np.isfinite(scale) or np.signbit(scale):
            raise FrameError(f"tensor {record.tensor_id}: scale {scale} is not finite and at least 0")
        if self.theta is not None and scale != common:
            raise FrameError(f"tensor {record.tensor_id}: scale {scale}, expected {common}")
        scaled: Array = _UNPACK[record.tag](record.body[4:], numel) * np.float32(common or scale)
        return scaled

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> TernaryMismatch:
        """Return the negative log-likelihood of the codes, and the distance to tensors sent as they are."""
        decoded, free = self.decode(records, layout, context), torch.full((layout.num_parameters,), torch.inf)
        common, coded = self._common(layout, context.shared), dict[Slot, float]()
        for slot, record, scale in zip(layout.parameters, records, common, strict=True):
            if slot.size < self.size_to_binarize:
                free[slot.start : slot.start + slot.size] = 0
            elif slot.size and (s := scale or float(packing.unpack_floats(record.body[:4], 1)[0])) > 0:
                coded[slot] = s
        exact = CellMismatch.of(decoded.where(free == 0, 0.0), free, free)
        return TernaryMismatch(
            slots=tuple(coded),
            codes=decoded.sign(),
            log_scales=torch.tensor(list(coded.values()), dtype=torch.float64).log().float(),
            exact=exact if bool((free == 0).any()) else None,
            clip=self.clip,
            centred=self.sd == "std",
            bounded=self.scale == "cstd",
            known=any(common),
        )

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        if numel < self.size_to_binarize:
            return 4 * numel
        fives = -(-numel // 5)
        sizes = {
            BASE3: fives,
            TWO_BIT: -(-numel // 4),
            RICE_SIGNS: max_rice(numel),
            ZLIB: max_huffman(fives),
        }
        return 4 + max(sizes[tag] for tag in _TAGS[self.pack])

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return a tensor's entropy, n H0(codes), and 32 of scale; 32 n for one that is sent as it is."""
        return sum(map(self._ideal_bits, records))

    def _ideal_bits(self, record: Record) -> float:
        if record.numel < self.size_to_binarize:
            return 32.0 * record.numel
        body = record.body[4:]
        if record.tag == ZLIB:
            body = unpack_huffman(body, BASE3, -(-record.numel // 5))
        if record.tag in (BASE3, ZLIB):
            return packing.base3_entropy(body, record.numel) + 32.0
        return packing.entropy(_UNPACK[record.tag](body, record.numel)) + 32.0
