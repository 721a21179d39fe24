"""Inner products and angles of updates, in float64 and bounded memory."""

import numpy as np
import torch
from torch import Tensor

from ...core.updates import row_norms
from .columns import Array, column_blocks

NO_LENGTH = 1e-12  # a shorter vector has no direction


def products(vectors: Tensor, others: Tensor) -> Tensor:
    """Return x_i . z_j in float64, for rows x of ``vectors`` [K, P] and z of ``others`` [M, P].  # [K, M]"""
    total = np.zeros((len(vectors), len(others)))
    right = others.detach().numpy()
    for columns, block in column_blocks(vectors):
        total += block.astype(np.float64) @ right[:, columns].astype(np.float64).T
    return torch.from_numpy(total)


def gram_of(vectors: Tensor) -> Array:
    """Return x_i . x_j in float64, for every two rows.  # [K, K]"""
    gram = np.zeros((len(vectors), len(vectors)))
    for _, block in column_blocks(vectors):
        exact = block.astype(np.float64)
        gram += exact @ exact.T
    return gram


def at_one_length(gram: Array) -> Array:
    """Return cosines from inner products [K, K]; 0 where a vector is shorter than 1e-12.  # [K, K]

    A square that rounding left below 0 is that of no vector.
    """
    lengths = np.sqrt(np.maximum(np.diagonal(gram), 0.0))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths >= NO_LENGTH)
    cosine: Array = gram * scale[:, None] * scale
    return cosine


def evened_gram(vectors: Tensor, squares: Array) -> Array:
    """Return inner products of directions, each coordinate centred and at one spread over the rows.  # [K, K]

    Coordinates in which all directions are alike count nothing.

    Args:
        vectors: The rows.  # [K, P]
        squares: Their squared lengths; a row shorter than 1e-12 has the direction 0.  # [K]
    """
    lengths = np.sqrt(squares)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths >= NO_LENGTH)
    gram = np.zeros((len(vectors), len(vectors)))
    for _, block in column_blocks(vectors):
        directions = block.astype(np.float64) * scale[:, None]
        directions -= directions.mean(axis=0)
        spread = np.sqrt((directions**2).mean(axis=0))
        directions /= np.where(spread > 1e-12, spread, np.inf)
        gram += directions @ directions.T
    return gram


def cosines(vectors: Tensor, shift: Tensor | None = None) -> Tensor:
    """Return the cosine of every two rows, each moved by ``shift`` [P] first, in float64.  # [K, K]

    1 on the diagonal; 0 elsewhere where a row is shorter than 1e-12.
    """
    gram = np.zeros((len(vectors), len(vectors)))
    offset = None if shift is None else shift.detach().numpy()
    for columns, block in column_blocks(vectors):
        exact = block.astype(np.float64)
        if offset is not None:
            exact += offset[columns]
        gram += exact @ exact.T
    lengths = np.sqrt(np.diagonal(gram))
    there = lengths >= NO_LENGTH
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=there)
    cosine = np.clip(gram * scale[:, None] * scale, -1.0, 1.0)
    np.fill_diagonal(cosine, 1.0)
    return torch.from_numpy(cosine)


def cosines_to(vectors: Tensor, reference: Tensor) -> Tensor:
    """Return each row's cosine to ``reference`` [P], 0 where either is shorter than 1e-12.  # [K]"""
    lengths, other = row_norms(vectors), row_norms(reference[None])
    cosine = products(vectors, reference[None])[:, 0] / (lengths * other).clamp(min=1e-300)
    there = (lengths >= NO_LENGTH) & (other >= NO_LENGTH)
    return torch.where(there, cosine.clamp(-1.0, 1.0), 0.0)
