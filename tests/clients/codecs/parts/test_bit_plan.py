"""Oracles: the closed form by hand, its optimality conditions, and every whole plan of a few tensors."""

from itertools import product

import numpy as np
import pytest

from gauntlet.clients.codecs.parts.bit_plan import bit_plan, whole_bits

A, N = np.array([1.0, 4.0, 0.25, 16.0]), np.array([100, 10, 1000, 10])


def distortion(bits, variances=A, sizes=N):
    return (sizes * variances * 2.0 ** (-2 * bits)).sum()


def test_the_closed_form_is_that_of_the_specification():
    """a = (1, 4, 1/4, 16), n = (100, 10, 1000, 10), 2 bits: 21.070 against 34.375 of 2 bits each."""
    bits = bit_plan(A, N, 2.0)
    assert bits.tolist() == pytest.approx([2.866, 3.866, 1.866, 4.866], abs=5e-4)
    assert distortion(bits) == pytest.approx(21.070, abs=5e-4)
    assert distortion(np.full(4, 2.0)) == pytest.approx(34.375)


def test_where_bits_would_be_negative_the_rest_is_solved_again():
    """Two tensors of 10, variances 1 and 2^-20: all of 20 bits to the first, which has 2 each."""
    assert bit_plan(np.array([1.0, 2.0**-20]), np.array([10, 10]), 1.0).tolist() == pytest.approx([2, 0])
    stream = np.random.default_rng(0)
    for _ in range(50):
        a, n = np.exp(stream.normal(0, 4, 7)), stream.integers(1, 1000, 7)
        bits = bit_plan(a, n, 1.5)
        assert (bits * n).sum() == pytest.approx(1.5 * n.sum())
        slopes = np.log2(a) / 2 - bits  # equal where bits are given, and no higher where none are
        level = slopes[bits > 0]
        assert level == pytest.approx(np.full(len(level), level[0]))
        assert (slopes[bits == 0] <= level[0] + 1e-9).all()


def test_tensors_of_zeros_and_of_no_elements_get_none():
    assert bit_plan(np.array([0.0, 1.0, 1.0]), np.array([10, 10, 0]), 1.0).tolist() == [0, 2, 0]
    assert bit_plan(np.zeros(2), np.array([3, 3]), 4.0).tolist() == [0, 0]
    rows = np.stack([A, A[::-1]])
    assert bit_plan(rows, N, 2.0)[0].tolist() == pytest.approx(bit_plan(A, N, 2.0).tolist())


def test_whole_plans_keep_the_budget_and_lose_little():
    """Against the best of all plans of 0, 2, 3, 4, 5 and 6 bits within the budget: at most half more."""
    allowed = np.array([0, 2, 3, 4, 5, 6])
    stream = np.random.default_rng(0)
    for _ in range(10):
        a, n = np.exp(stream.normal(0, 2, 4)), stream.integers(1, 100, 4)
        bits = whole_bits(bit_plan(a, n, 3.0), a, n, 3.0, allowed)
        assert set(bits.tolist()) <= set(allowed.tolist())
        assert (bits * n).sum() <= 3 * n.sum()
        plans = np.array(list(product(allowed, repeat=4)))
        plans = plans[(plans * n).sum(axis=1) <= 3 * n.sum()]
        best = (n * a * 2.0 ** (-2 * plans)).sum(axis=1).min()
        assert best <= distortion(bits, a, n) <= 1.5 * best
