"""Matrix autoregression: X_t is about A X_{t-1} B^T.

Source: Chen, Xiao, Yang. Autoregressive models for matrix-valued time series. Journal of Econometrics 222,
2021; with ridge penalties on both matrices.
"""

import numpy as np

from .columns import Array

TOLERANCE = 1e-6


def fit(series: Array, alpha: float, beta: float, max_iterations: int) -> tuple[Array, Array]:
    """Return A [k, k] and B [d, d] by alternating least squares from the identity.

    They lower sum_t ||X_t - A X_{t-1} B^T||^2 + alpha ||A||^2 (in A's turn) or + beta ||B||^2 (in B's).

    Args:
        series: X_1 ... X_T, T at least 2.  # [T, k, d]
        alpha: Penalty on A, above 0.
        beta: Penalty on B, above 0.
        max_iterations: Turns of both, at least 1; fewer where the fit stops changing.
    """
    before, after = series[:-1], series[1:]
    _, rows, columns = series.shape
    a, b = np.eye(rows), np.eye(columns)
    fitted = np.zeros_like(after)
    for _ in range(max_iterations):
        mixed = before @ b.T  # [T - 1, k, d]
        a = _ridge(_stacked(after.swapaxes(1, 2)), _stacked(mixed.swapaxes(1, 2)), alpha)
        mixed = a @ before
        b = _ridge(_stacked(after), _stacked(mixed), beta)
        last, fitted = fitted, mixed @ b.T
        if np.abs(fitted - last).max() <= TOLERANCE * np.abs(fitted).max():
            break
    return a, b


def _stacked(matrices: Array) -> Array:
    """Return the matrices of a series below each other.  # [(T - 1) n, m]"""
    return matrices.reshape(-1, matrices.shape[-1])


def _ridge(targets: Array, inputs: Array, penalty: float) -> Array:
    """Return the matrix M that takes each input row z to about its target row, M z.  # [m, m]"""
    square = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    return np.linalg.solve(square, inputs.T @ targets).T


def forecast(series: Array, alpha: float, beta: float, max_iterations: int) -> Array:
    """Return the matrix that is expected after a series.  # [k, d]"""
    a, b = fit(series, alpha, beta, max_iterations)
    expected: Array = a @ series[-1] @ b.T
    return expected
