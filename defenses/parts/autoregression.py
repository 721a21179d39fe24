"""Matrix autoregression: X_t is about A X_{t-1} B^T.

Source: Chen, Xiao, Yang. Autoregressive models for matrix-valued time series. Journal of Econometrics 222,
2021; with ridge penalties on both matrices.
"""

from dataclasses import dataclass

import numpy as np

from .columns import Array


@dataclass(frozen=True)
class Fit:
    """How a model is fitted.

    Attributes:
        alpha: Ridge penalty on A, above 0.
        beta: Ridge penalty on B, above 0.
        max_iterations: Turns of both, at least 1.
        tolerance: Turns end where the fitted series changes by no more than this, relative to its norm.
    """

    alpha: float
    beta: float
    max_iterations: int
    tolerance: float


def fit(series: Array, how: Fit) -> tuple[Array, Array]:
    """Return A [k, k] and B [d, d] by alternating least squares from the identity.

    They lower sum_t ||X_t - A X_{t-1} B^T||^2 + alpha ||A||^2 (in A's turn) or + beta ||B||^2 (in B's).

    Args:
        series: X_1 ... X_T, T at least 2.  # [T, k, d]
        how: Penalties, and when to stop.
    """
    before, after = series[:-1], series[1:]
    _, rows, columns = series.shape
    a, b = np.eye(rows), np.eye(columns)
    fitted = np.zeros_like(after)
    for _ in range(how.max_iterations):
        mixed = before @ b.T  # [T - 1, k, d]
        a = _ridge(_stacked(after.swapaxes(1, 2)), _stacked(mixed.swapaxes(1, 2)), how.alpha)
        mixed = a @ before
        b = _ridge(_stacked(after), _stacked(mixed), how.beta)
        last, fitted = fitted, mixed @ b.T
        if np.linalg.norm(fitted - last) <= how.tolerance * np.linalg.norm(fitted):
            break
    return a, b


def _stacked(matrices: Array) -> Array:
    """Return the matrices of a series below each other.  # [(T - 1) n, m]"""
    return matrices.reshape(-1, matrices.shape[-1])


def _ridge(targets: Array, inputs: Array, penalty: float) -> Array:
    """Return the matrix M that takes each input row z to about its target row, M z.  # [m, m]"""
    square = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    return np.linalg.solve(square, inputs.T @ targets).T


def forecast(series: Array, how: Fit) -> Array:
    """Return the matrix that is expected after a series.  # [k, d]"""
    a, b = fit(series, how)
    expected: Array = a @ series[-1] @ b.T
    return expected
