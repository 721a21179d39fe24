"""A basis in whole codes of a few bits, in groups of one scale each.

Source: Zhang et al. Q-GaLore. 2024. arXiv:2407.08296 (group-wise affine quantisation of the projection); that
what is read is made orthonormal again, so that a projection stays one, is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .packing import pack_fixed, unpack_fixed

if TYPE_CHECKING:
    from ....core.trees import State
    from .packing import Array

GROUP = 64  # values that share a scale; the last group may have fewer


def packed_basis(basis: Array, bits: int) -> State:
    """Return a basis [n, r] as ``codes`` (uint8, packed), and each group's ``scales`` and ``zeros``.

    A value is (code - zero) scale, with scale = (max - min) / (2^bits - 1) and zero = round(-min / scale).
    """
    values = basis.reshape(-1)
    padded = np.concatenate([values, np.repeat(values[-1:], -len(values) % GROUP)]).reshape(-1, GROUP)
    low, high = padded.min(axis=1, keepdims=True), padded.max(axis=1, keepdims=True)
    spread = (high - low) / (2**bits - 1)
    scales = np.where(spread > 0, spread, np.where(low == 0, 1.0, np.abs(low))).astype(np.float32)
    zeros = np.rint(-low / scales)
    codes = np.clip(np.rint(padded / scales) + zeros, 0, 2**bits - 1).astype(np.uint8)
    packed = pack_fixed(codes.reshape(1, -1)[:, : len(values)], bits)[0]
    parts = {"codes": packed, "scales": scales[:, 0], "zeros": zeros[:, 0].astype(np.float32)}
    return {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in parts.items()}


def unpacked_basis(told: State, bits: int, sides: tuple[int, int]) -> Array:
    """Return the basis of ``sides`` [n, r] that ``packed_basis`` wrote, made orthonormal, float64."""
    codes, scales, zeros = (told[name].numpy() for name in ("codes", "scales", "zeros"))
    numel = sides[0] * sides[1]
    read = unpack_fixed(codes.tobytes(), numel, bits).astype(np.float64)
    group = np.arange(numel) // GROUP
    values = (read - zeros[group]) * scales[group].astype(np.float64)
    q, r = np.linalg.qr(values.reshape(sides))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
