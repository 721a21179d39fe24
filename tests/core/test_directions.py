"""Oracles: moments of normals, hand calculations, and a solver of numpy's for least squares."""

import numpy as np
import pytest

from gauntlet.core import directions
from gauntlet.core.directions import Directions, nearest


@pytest.mark.parametrize("d", [10, 100])
def test_one_direction_gives_the_gradient_with_an_error_of_d_plus_one_times_its_squared_length(d):
    """E|(z.g) z - g|^2 = (d + 1) |g|^2, from E|z|^2 (z.g)^2 = (d + 2) |g|^2; within 5 standard errors."""
    g = np.random.default_rng(0).standard_normal(d)
    found = np.stack(list(Directions(0, 0, 0, 4000, d).each())).astype(np.float64)
    errors = np.square((found @ g)[:, None] * found - g).sum(axis=1) / (g @ g)
    assert abs(errors.mean() - (d + 1)) < 5 * errors.std() / len(errors) ** 0.5
    assert 5 * errors.std() / len(errors) ** 0.5 < 0.2 * (d + 1)


def test_directions_are_independent_standard_normals():
    found = np.stack(list(Directions(3, 1, 4, 20, 5000).each())).astype(np.float64)
    assert abs(found.mean()) < 5 / found.size**0.5
    assert found.std() == pytest.approx(1, abs=0.02)
    products = np.corrcoef(found)[~np.eye(20, dtype=bool)]
    assert np.abs(products).max() < 5 / 5000**0.5


def test_drawing_by_blocks_gives_the_same_numbers(monkeypatch):
    """The streams go on where they stopped: what is drawn at once decides memory alone."""
    told = Directions(1, 2, 3, 3, 1001)
    whole = np.stack(list(told.each()))
    monkeypatch.setattr(directions, "NUMBERS", 3 * 77)
    assert np.array_equal(np.concatenate([block for _, block in told.blocks()], axis=1), whole)


def test_a_combination_is_added_up_in_the_order_of_the_directions():
    told = Directions(1, 2, 3, 3, 50)
    a, b, c = told.each()
    expected = (np.float32(0.1) * a + np.float32(-2) * b) + np.float32(0.3) * c
    assert np.array_equal(told.combined(np.array([0.1, -2, 0.3])), expected)


def test_factors_are_those_of_least_squares():
    told, vector = Directions(1, 2, 3, 7, 40), np.random.default_rng(0).standard_normal(40)
    expected = np.linalg.lstsq(np.stack(list(told.each()), axis=1).astype(np.float64), vector, rcond=None)[0]
    np.testing.assert_allclose(nearest(*told.products(vector)), expected, rtol=1e-9)


def test_of_more_directions_than_coordinates_the_shortest_factors_are_found():
    told, vector = Directions(1, 2, 3, 9, 4), np.arange(4.0)
    expected = np.linalg.pinv(np.stack(list(told.each()), axis=1).astype(np.float64)) @ vector
    np.testing.assert_allclose(nearest(*told.products(vector)), expected, rtol=1e-6)


def test_who_and_when_decide_the_directions():
    first = next(Directions(1, 2, 3, 2, 10).each())
    others = [(2, 2, 3), (1, 3, 3), (1, 2, 4)]
    assert all(not np.array_equal(first, next(Directions(*who, 2, 10).each())) for who in others)


def test_a_pool_holds_the_same_few_directions_in_all_rounds():
    """Of 5 in the pool a client draws 3 different ones; in 30 rounds all 5 come up, and no sixth."""
    seen = set()
    for t in range(30):
        found = [row.tobytes() for row in Directions(1, t, 7, 3, 10, pool=5).each()]
        assert len(set(found)) == 3
        seen |= set(found)
    assert len(seen) == 5


def test_a_combination_of_no_coordinates_is_empty():
    told = Directions(1, 2, 3, 2, 0)
    assert told.combined(np.ones(2)).shape == (0,)
    assert nearest(*told.products(np.zeros(0))).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, None), "scalars_per_round must be from 1 to 4096, got 0"),
        ((4, 3), "seed_pool must be from scalars_per_round, 4, to 65536, or left out; got 3"),
    ],
)
def test_a_count_that_cannot_be_is_refused(options, message):
    count, pool = options
    with pytest.raises(ValueError, match=message):
        Directions(0, 0, 0, count, 5, pool)
