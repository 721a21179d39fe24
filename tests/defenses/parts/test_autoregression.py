"""Oracles: hand cases, series that the model made itself, and the normal equations."""

import numpy as np
import pytest

from gauntlet.defenses.parts.autoregression import Fit, fit, forecast


def test_numbers_by_hand():
    """1, 2 with both penalties 1: A = 2 / (1 + 1) = 1, then B = 2 / (1 + 1) = 1: after 2 comes 1 * 2 * 1."""
    series = np.array([[[1.0]], [[2.0]]])
    assert forecast(series, Fit(1.0, 1.0, 1, 0.0)).item() == pytest.approx(2.0)


def test_one_turn_without_penalty_doubles_what_doubles():
    """1, 2, 4 with next to no penalty: A B = 2, so 8 comes next."""
    series = np.array([1.0, 2.0, 4.0]).reshape(3, 1, 1)
    assert forecast(series, Fit(1e-12, 1e-12, 50, 0.0)).item() == pytest.approx(8.0, abs=1e-6)


def test_a_series_that_the_model_made_is_forecast():
    rng = np.random.default_rng(0)
    a, b = np.linalg.qr(rng.normal(size=(4, 4)))[0], np.linalg.qr(rng.normal(size=(3, 3)))[0]
    series = [rng.normal(size=(4, 3))]
    for _ in range(20):
        series.append(a @ series[-1] @ b.T)
    expected = series.pop()
    found = forecast(np.stack(series), Fit(1e-9, 1e-9, 5000, 1e-12))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_last_turn_solves_its_normal_equation():
    """B (sum Z^T Z + beta I) = sum X_t^T Z, with Z = A X_{t-1}."""
    series = np.random.default_rng(1).random((5, 4, 6))
    a, b = fit(series, Fit(0.5, 2.0, 7, 0.0))
    z = a @ series[:-1]
    square = sum(m.T @ m for m in z) + 2.0 * np.eye(6)
    cross = sum(x.T @ m for x, m in zip(series[1:], z, strict=True))
    np.testing.assert_allclose(b @ square, cross, atol=1e-10)
