"""The arithmetic of clipping: norms in float64, and rows scaled to stay under a bound.

Source: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
ICLR 2018, Algorithm 1 (FlatClip). arXiv:1710.06963
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...core.updates import row_norms as row_norms

_COLUMNS = 8192  # float64 copies hold at most [K, this]; short enough to be summed by one thread
_SHRINK = 1 - 1e-6  # undoes what the rounding to float32 may add to a norm


def flat_norms(squares: Tensor) -> Tensor:
    """Return the norms of gradients from the squared norms of their tensors [L, ...].  # [1, ...]"""
    return squares.sum(dim=0, keepdim=True).sqrt()


def clip_rows(vectors: Tensor, clip_norm: float) -> Tensor:
    """Return ``vectors`` [K, P] with every row's norm at most ``clip_norm``, direction kept.

    Rows within the bound keep their bits, so that clipping twice is clipping once.

    Raises:
        ValueError: A row holds NaN or infinity: whoever calls must have removed it.
    """
    norms = finite_norms(vectors)  # [K]
    return scale_rows(vectors, norms, clip_norm / norms, clip_norm)


def finite_norms(vectors: Tensor, measure: Callable[[Tensor], Tensor] = row_norms) -> Tensor:
    """Return the norm of each row of ``vectors`` [K, P], L2 unless told otherwise, in float64.  # [K]

    Raises:
        ValueError: A row holds NaN or infinity: whoever calls must have removed it.
    """
    norms = measure(vectors)
    if not bool(norms.isfinite().all()):
        rows = (~norms.isfinite()).nonzero().flatten().tolist()
        raise ValueError(f"only finite updates can be clipped, got NaN or infinity in rows {rows}")
    return norms


def finite_or_zero(vectors: Tensor) -> Tensor:
    """Return ``vectors`` [K, P] with zeros in place of each row whose norm is NaN or infinite.

    For clients who add noise of their own: what nobody else may check must not tell them apart.
    """
    broken = ~row_norms(vectors).isfinite()  # [K]
    return vectors.masked_fill(broken[:, None], 0.0) if bool(broken.any()) else vectors


def clip_finite_rows(vectors: Tensor, clip_norm: float) -> Tensor:
    """Return what ``clip_rows`` does, but leave rows that hold NaN or infinity as they are.

    For the client's side: the server's finite check must still see that such a row is broken.
    """
    norms = row_norms(vectors)  # [K]
    return scale_rows(vectors, norms, clip_norm / norms, clip_norm)


def scale_rows(
    vectors: Tensor,
    norms: Tensor,
    factors: Tensor,
    clip_norm: float,
    stretch: bool = False,
    measure: Callable[[Tensor], Tensor] = row_norms,
) -> Tensor:
    """Return ``vectors`` [K, P] with each row times its factor, rounded to a norm of at most ``clip_norm``.

    Args:
        vectors: The rows.
        norms: Their norms; a row whose norm is not finite stays as it is.  # [K]
        factors: What each row is multiplied by, float64, such that no norm exceeds ``clip_norm``.  # [K]
        clip_norm: The bound.
        stretch: Whether factors above 1 count; otherwise they are 1, and rows within the bound keep their
            bits.
        measure: Rows to norms.
    """
    finite = norms.isfinite()  # [K]
    factors = factors if stretch else factors.clamp(max=1.0)  # [K]; C over a norm of zero gives 1
    factors = torch.where(finite, factors, 1.0)[:, None]  # [K, 1]
    scaled = torch.empty_like(vectors)
    for source, target in zip(
        torch.split(vectors, _COLUMNS, dim=1), torch.split(scaled, _COLUMNS, dim=1), strict=True
    ):
        target.copy_(source.double() * factors)
    too_long = finite & (measure(scaled) > clip_norm)  # [K]
    if bool(too_long.any()):
        scaled.mul_(torch.where(too_long, _SHRINK, 1.0).to(scaled.dtype)[:, None])
    return scaled


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
    norms = finite_norms(vectors, row_norms_l1)
    return scale_rows(vectors, norms, clip_norm / norms, clip_norm, measure=row_norms_l1)


def clip_finite_rows_l1(vectors: Tensor, clip_norm: float) -> Tensor:
    """Do what ``clip_finite_rows`` does, with L1 norms."""
    norms = row_norms_l1(vectors)
    return scale_rows(vectors, norms, clip_norm / norms, clip_norm, measure=row_norms_l1)
