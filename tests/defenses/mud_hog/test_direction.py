"""Who goes against the crowd. Oracles: cosines and agreements by loops over the vectors themselves."""

import numpy as np
import pytest

from gauntlet.defenses.mud_hog.direction import agreement, cosines_to_others, turned

TRUSTED = np.array([True] * 6 + [False] * 2)


def vectors(seed=0):
    return np.random.default_rng(seed).normal(size=(8, 20)) + 0.5


def test_the_cosine_is_that_with_the_sum_of_the_others_directions():
    x = vectors()
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = cosines_to_others(x @ x.T, TRUSTED)
    for i in range(8):
        others = units[[j for j in range(6) if j != i]].sum(axis=0)
        assert found[i] == pytest.approx(units[i] @ others / np.linalg.norm(others))


def test_the_agreement_weighs_cosines_by_their_size():
    x = vectors()
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = agreement(x @ x.T, TRUSTED)
    for i in range(8):
        c = np.array([units[i] @ units[j] for j in range(6) if j != i])
        assert found[i] == pytest.approx((c * abs(c)).sum() / (c**2).sum())


def like_minded(clients=20, spread=1.0):
    rng = np.random.default_rng(1)
    return rng.normal(size=40) + spread * rng.normal(size=(clients, 40))


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("share", [1, 9])
def test_turned_updates_are_found_whatever_their_length_and_up_to_nearly_half(scale, share):
    x = like_minded()
    x[:share] *= -scale
    found, cosines = turned(x @ x.T, np.ones(20, dtype=bool))
    assert set(np.flatnonzero(found)) == set(range(share))
    assert (cosines[found] < 0).all()


def test_an_unusual_client_is_not_turned():
    """Client 0 points at a right angle to everybody: far from the crowd, and as far with its sign turned."""
    x = like_minded(spread=0.3)
    middle = x.mean(axis=0)
    x[0] -= (x[0] @ middle) / (middle @ middle) * middle
    found, _ = turned(x @ x.T, np.ones(20, dtype=bool))
    assert not found.any()


def test_a_crowd_without_a_common_mind_cannot_tell():
    noise = np.random.default_rng(2).normal(size=(20, 4000))
    assert turned(noise @ noise.T, np.ones(20, dtype=bool)) is None
    assert turned(np.zeros((20, 20)), np.ones(20, dtype=bool)) is None
    assert turned(np.eye(3), np.zeros(3, dtype=bool)) is None


def test_opposites_are_found_where_clients_of_different_classes_share_no_direction():
    """Five groups at right angles, four clients each: no common sum worth the name, but each has its like."""
    rng = np.random.default_rng(3)
    x = np.repeat(np.eye(5, 60), 4, axis=0) + 0.05 * rng.normal(size=(20, 60))
    x[[0, 9]] *= -1
    found, _ = turned(x @ x.T, np.ones(20, dtype=bool))
    assert set(np.flatnonzero(found)) == {0, 9}
