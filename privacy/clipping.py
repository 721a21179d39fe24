"""Fixed clipping: scale every update that is longer than C down to norm C.

Source: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
ICLR 2018, Algorithm 1 (FlatClip). arXiv:1710.06963
"""

from collections.abc import Callable

import torch
from torch import Tensor

_COLUMNS = 8192  # float64 copies hold at most [K, this]; short enough to be summed by one thread
_SHRINK = 1 - 1e-6  # undoes what the rounding to float32 may add to a norm


def row_norms(vectors: Tensor) -> Tensor:
    """Return the L2 norm of each row of ``vectors`` [K, P], in float64.  # [K]

    A row's norm has the same bits whatever the other rows are. float32 values of 1e30 do not overflow.
    """
    squares = torch.zeros(len(vectors), dtype=torch.float64, device=vectors.device)  # [K]
    for part in torch.split(vectors, _COLUMNS, dim=1):
        squares += torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square()
    return squares.sqrt()


def clip_rows(vectors: Tensor, clip_norm: float) -> Tensor:
    """Return ``vectors`` [K, P] with every row's norm at most ``clip_norm``, direction kept.

    Rows within the bound keep their bits, so that clipping twice is clipping once.

    Raises:
        ValueError: A row holds NaN or infinity: whoever calls must have removed it.
    """
    norms = row_norms(vectors)
    if not bool(norms.isfinite().all()):
        rows = (~norms.isfinite()).nonzero().flatten().tolist()
        raise ValueError(f"only finite updates can be clipped, got NaN or infinity in rows {rows}")
    return _scaled(vectors, norms, clip_norm)


def clip_finite_rows(vectors: Tensor, clip_norm: float) -> Tensor:
    """Return what ``clip_rows`` does, but leave rows that hold NaN or infinity as they are.

    For the client's side: the server's finite check must still see that such a row is broken.
    """
    return _scaled(vectors, row_norms(vectors), clip_norm)


def _scaled(
    vectors: Tensor, norms: Tensor, clip_norm: float, measure: Callable[[Tensor], Tensor] = row_norms
) -> Tensor:
    finite = norms.isfinite()  # [K]
    factors = (clip_norm / norms).clamp(max=1.0)  # [K]; a norm of zero gives 1
    factors = torch.where(finite, factors, 1.0)[:, None]  # [K, 1]
    clipped = torch.empty_like(vectors)
    for source, target in zip(
        torch.split(vectors, _COLUMNS, dim=1), torch.split(clipped, _COLUMNS, dim=1), strict=True
    ):
        target.copy_(source.double() * factors)
    too_long = finite & (measure(clipped) > clip_norm)  # [K]
    if bool(too_long.any()):
        clipped.mul_(torch.where(too_long, _SHRINK, 1.0).to(clipped.dtype)[:, None])
    return clipped


def row_norms_l1(vectors: Tensor) -> Tensor:
    """Return the L1 norm of each row of ``vectors`` [K, P], in float64.  # [K]"""
    sums = torch.zeros(len(vectors), dtype=torch.float64, device=vectors.device)  # [K]
    for part in torch.split(vectors, _COLUMNS, dim=1):
        sums += torch.linalg.vector_norm(part, ord=1, dim=1, dtype=torch.float64)
    return sums


def clip_rows_l1(vectors: Tensor, clip_norm: float) -> Tensor:
    """Do what ``clip_rows`` does, with L1 norms.

    Raises:
        ValueError: A row holds NaN or infinity.
    """
    norms = row_norms_l1(vectors)
    if not bool(norms.isfinite().all()):
        rows = (~norms.isfinite()).nonzero().flatten().tolist()
        raise ValueError(f"only finite updates can be clipped, got NaN or infinity in rows {rows}")
    return _scaled(vectors, norms, clip_norm, row_norms_l1)


def clip_finite_rows_l1(vectors: Tensor, clip_norm: float) -> Tensor:
    """Do what ``clip_finite_rows`` does, with L1 norms."""
    return _scaled(vectors, row_norms_l1(vectors), clip_norm, row_norms_l1)
