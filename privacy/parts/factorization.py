"""Banded factorisations of prefix sums: lower triangular C with b diagonals and columns of norm 1.

Source: Choquette-Choo et al. NeurIPS 2023, Section 4, arXiv:2306.08153 (the optimum: least tr(A' A X^-1)
with X = C' C banded and of unit diagonal, A lower triangular ones). Fichtenberger, Henzinger, Upadhyay.
Constant Matters. ICML 2023, arXiv:2202.11205 (the square root of A, entries binom(2k, k) / 4^k).

One client's round costs the norm of a *column*; a Cholesky factor of X itself would have unit rows instead,
and up to 1.7 times too little noise. The optimum is sought over C with columns scaled to norm 1, which is
one to one with the banded X, so that X stays positive definite on the way.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

FACTORIZATIONS = ("optimal", "sqrt_toeplitz")
_UNIT = 1e-7  # how far a column's norm may be from 1


@lru_cache(maxsize=16)
def banded_rows(factorization: str, rounds: int, bands: int) -> Matrix:
    """Return C by rows: entry [t, i] is C[t, t - b + 1 + i], 0 outside the matrix.  # [T, b]

    Raises:
        ValueError: A column's norm is not 1: the noise would not be what is charged.
    """
    start = _unit_columns(_toeplitz_root(rounds, bands))
    rows = start if factorization == "sqrt_toeplitz" or bands == 1 else _optimum(start)
    norms = np.sqrt(_column_squares(rows))
    if np.abs(norms - 1).max() > _UNIT:
        raise ValueError(f"the factorisation failed: column norms from {norms.min()} to {norms.max()}")
    rows.setflags(write=False)
    return rows


def dense(rows: Matrix) -> Matrix:
    """Return the whole matrix C.  # [T, T]"""
    rounds, bands = rows.shape
    matrix = np.zeros((rounds, rounds))
    for i in range(bands):
        back = bands - 1 - i
        matrix[np.arange(back, rounds), np.arange(rounds - back)] = rows[back:, i]
    return matrix


def prefix_error(rows: Matrix) -> float:
    """Return the noise variance of all prefix sums together, tr(A' A X^-1), for fresh noise of variance 1."""
    return float(np.square(_inverse_prefix(dense(rows))).sum())


def _toeplitz_root(rounds: int, bands: int) -> Matrix:
    factors = np.cumprod([1.0, *((2 * k - 1) / (2 * k) for k in range(1, bands))])  # 1, 1/2, 3/8, 5/16 ...
    rows = np.tile(factors[::-1], (rounds, 1))
    return rows * _inside(rounds, bands)


def _inside(rounds: int, bands: int) -> NDArray[np.bool_]:
    """Return which entries of the banded form lie inside the matrix.  # [T, b]"""
    return np.arange(rounds)[:, None] - (bands - 1) + np.arange(bands)[None, :] >= 0


def _columns(rows: Matrix) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return each entry's column (0 outside), and which entries lie inside.  # [T, b]"""
    rounds, bands = rows.shape
    inside = _inside(rounds, bands)
    columns = np.arange(rounds)[:, None] - (bands - 1) + np.arange(bands)[None, :]
    return np.where(inside, columns, 0), inside


def _column_squares(rows: Matrix) -> Matrix:
    columns, inside = _columns(rows)
    squares: Any = np.bincount(columns[inside], weights=np.square(rows[inside]), minlength=len(rows))
    return np.asarray(squares, dtype=np.float64)


def _unit_columns(rows: Matrix) -> Matrix:
    columns, inside = _columns(rows)
    return np.where(inside, rows / np.sqrt(_column_squares(rows))[columns], 0.0)


def _inverse_prefix(matrix: Matrix) -> Matrix:
    """Return B = A C^-1.  # [T, T]"""
    from scipy.linalg import solve_triangular

    ones = np.tril(np.ones_like(matrix))
    solved: Matrix = solve_triangular(matrix, ones.T, lower=True, trans="T").T
    return solved


def _optimum(start: Matrix) -> Matrix:
    from scipy.optimize import minimize

    columns, inside = _columns(start)

    def objective(entries: Matrix) -> tuple[float, Matrix]:
        """Return the error of the matrix with these entries, columns scaled to norm 1, and its gradient."""
        from scipy.linalg import solve_triangular

        raw = np.zeros_like(start)
        raw[inside] = entries
        unit = _unit_columns(raw)
        matrix = dense(unit)
        product = _inverse_prefix(matrix)
        # d ||A C^-1||^2 / dC = -2 (B' B) C^-T
        full = -2 * solve_triangular(matrix, product.T @ product, lower=True).T
        gradient = np.zeros_like(start)
        gradient[inside] = full[np.nonzero(inside)[0], columns[inside]]
        # Scaling a column changes nothing: leave out the part along it.
        along = np.bincount(columns[inside], weights=(gradient * unit)[inside], minlength=len(start))
        lengths = np.sqrt(_column_squares(raw))
        gradient = (gradient - along[columns] * unit) / lengths[columns]
        return float(np.square(product).sum()), gradient[inside]

    options: dict[str, Any] = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-13, "gtol": 1e-9, "maxcor": 30}
    found = minimize(objective, start[inside], jac=True, method="L-BFGS-B", options=options)
    rows = np.zeros_like(start)
    rows[inside] = found.x
    rows = _unit_columns(rows)
    diagonal = rows[:, -1:]
    if not (np.isfinite(rows).all() and (np.abs(diagonal) > 0).all()):
        raise ValueError(f"no optimal factorisation was found for {len(start)} rounds: {found.message}")
    return rows
