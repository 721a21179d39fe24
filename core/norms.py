"""Norms at the speed of memory, for rules that compare lengths and promise no bound of them.

Squares are summed in float32 within short pieces of a row, and in float64 over the pieces, so that the error
does not grow with the row. What a guarantee rests on takes ``updates.row_norms``, three times as slow.
"""

import torch
from torch import Tensor

from .updates import row_norms

PIECE = 256
"""Columns whose squares are added up in float32: 32 to each of eight running sums."""

LEAST_RMS = 2.0**-50
"""Root mean square of a row below which squares that float32 cannot hold would be missed."""

_FEW = 8  # rows copied at once to be measured again


def fast_row_norms(vectors: Tensor) -> Tensor:
    """Return each row's L2 norm, good to a few parts in 10^7, whatever its length; float64.  # [K]

    A row's norm has the same bits whatever the other rows are, and for any number of threads. Rows that are
    not float32, not finite, shorter than a piece, or so long or short that their squares leave float32's
    range have the norm of ``row_norms``, to the bit.

    Args:
        vectors: The rows.  # [K, P]
    """
    if vectors.dtype != torch.float32:
        return row_norms(vectors)
    width = vectors.shape[1]
    whole, rest = vectors.tensor_split([width - width % PIECE], dim=1)
    pieces = torch.linalg.vector_norm(whole.reshape(len(vectors), width // PIECE, PIECE), dim=2)  # [K, N]
    norms = row_norms(torch.cat([pieces, rest], dim=1))
    known = norms.isfinite() & (norms >= LEAST_RMS * width**0.5)
    unknown = (~known).nonzero().flatten()
    for rows in unknown.split(_FEW) if len(unknown) else ():  # an empty one is one part
        norms[rows] = row_norms(vectors[rows])
    return norms
