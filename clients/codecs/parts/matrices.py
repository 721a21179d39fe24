"""Tensors as standing matrices: never more columns than rows, so that the thin side is the one projected.

GaLore projects the shorter side of a matrix. Which side that is follows here from the tensor's own shape on
both sides of a frame, and a square one keeps its rows: its authors' code takes the side from the shape of
what is decoded, which is wrong where the two are equal.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .packing import finite_rows

if TYPE_CHECKING:
    from .packing import Array

_LARGEST = float(np.finfo(np.float32).max)


def standing_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (long, short): the sides of a tensor as a matrix; (size, 1) of a vector, (0, 0) if empty."""
    n, m = (shape[0], prod(shape[1:])) if len(shape) > 1 else (prod(shape), 1)
    return (max(n, m), min(n, m)) if n * m else (0, 0)


def standing(block: Array, shape: tuple[int, ...]) -> Array:
    """Return one tensor of K clients [K, n] as matrices, float64.  # [K, long, short]"""
    rows = shape[0] if len(shape) > 1 else prod(shape)
    matrices = block.astype(np.float64).reshape(len(block), rows, -1)
    return matrices.swapaxes(1, 2) if rows < matrices.shape[2] else matrices


def flat(matrices: Array, shape: tuple[int, ...]) -> Array:
    """Return standing matrices [K, long, short] as rows in the tensor's own order.  # [K, n]"""
    lies = len(shape) > 1 and shape[0] < prod(shape[1:])
    return (matrices.swapaxes(1, 2) if lies else matrices).reshape(len(matrices), -1)


def rounded(values: Array) -> Array:
    """Return float64 values as float32; what is larger than any float32 becomes the largest one."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)


def coefficients(block: Array, shape: tuple[int, ...], basis: Array) -> Array:
    """Return M B of one tensor of each client, float32; NaN of one that is not finite.  # [K, long rank]"""
    finite, block = finite_rows(block)
    found = rounded(standing(block, shape) @ basis).reshape(len(block), -1)
    return np.where(finite[:, None], found, np.float32(np.nan))


def lifted(sent: Array, shape: tuple[int, ...], basis: Array) -> Array:
    """Return M B B^T of each client, from its coefficients [K, long rank], float64.  # [K, n]"""
    matrices = sent.astype(np.float64).reshape(len(sent), -1, basis.shape[1])
    return flat(matrices @ basis.T, shape)
