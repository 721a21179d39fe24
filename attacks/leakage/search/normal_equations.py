"""Derivatives forwards, and the normal equations of a least-squares problem."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp, vmap

_TANGENTS, _ROWS = 128, 512  # derivatives taken at once, rows of J^T J at once


def forwards(function: Callable[[Tensor], Tensor], point: Tensor, tangents: Tensor) -> Tensor:
    """Return the derivative along each of some tangents, one row a tangent."""
    with warnings.catch_warnings():  # of what torch loads at the first derivative forwards
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning)
        along = vmap(lambda tangent: jvp(function, (point,), (tangent,))[1], chunk_size=_TANGENTS)
        found: Tensor = along(tangents)
    return found


def gram_of(jacobian: Tensor) -> Tensor:
    """Return J^T J in float64; its half above the diagonal alone holds what was computed.  # [N, N]"""
    unknowns = len(jacobian)
    gram = torch.zeros(unknowns, unknowns, dtype=torch.float64)
    for first in range(0, unknowns, _ROWS):
        last = min(first + _ROWS, unknowns)
        gram[first:last, first:] = jacobian[first:last] @ jacobian[first:].T
    return gram


def root_of(gram: Tensor, damping: float) -> Tensor | None:
    """Return the upper Cholesky root of J^T J + damping I, or None where rounding leaves none.  # [N, N]"""
    damped = gram.clone()
    damped.diagonal().add_(damping)
    root, failed = torch.linalg.cholesky_ex(damped, upper=True)
    return None if failed else root


def solved(root: Tensor, slope: Tensor) -> Tensor:
    """Return the step -(J^T J + damping I)^-1 J^T r, given the root and J^T r.  # [N]"""
    return -torch.cholesky_solve(slope[:, None], root, upper=True)[:, 0]
