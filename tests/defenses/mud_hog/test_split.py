"""The test for two halves. Oracles: brute force over every split, and the meaning of a p-value."""

import numpy as np
import pytest

from gauntlet.defenses.mud_hog.split import (
    alike,
    best_splits,
    closest_group,
    leading_coordinates,
    outlying_part,
    p_value,
)
from gauntlet.defenses.parts.geometry import at_one_length


def by_hand(values):
    """Try every split of ascending numbers with at least two on either side."""
    n, best = len(values), None
    for k in range(2, n - 1):
        halves = values[:k], values[k:]
        within = sum(((half - half.mean()) ** 2).sum() for half in halves)
        if best is None or within < best[0]:
            best = within, (halves[1].mean() - halves[0].mean()) / np.sqrt(within / n), k
    return best[1:]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_split_is_the_one_that_trying_all_finds(seed):
    values = np.sort(np.random.default_rng(seed).normal(size=(3, 15)), axis=1)
    distances, sizes = best_splits(values)
    for row, distance, size in zip(values, distances, sizes, strict=True):
        assert (distance, size) == pytest.approx(by_hand(row))


def test_chance_has_the_p_values_of_chance():
    """Of uniform numbers a share p has a p-value of at most p: 5 % and 20 % of 2000, within 4 errors."""
    rng = np.random.default_rng(1)
    found = np.array(
        [p_value(best_splits(np.sort(rng.random((1, 30)), axis=1))[0][0], 30) for _ in range(2000)]
    )
    for level in (0.05, 0.2):
        assert (found <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))


def test_a_normal_crowd_is_of_one_piece_and_two_crowds_are_not():
    rng = np.random.default_rng(2)
    crowd = rng.normal(size=40)
    assert not outlying_part(crowd, 0.01)[0].any()
    crowd[[3, 8, 30]] += 9.0
    for turned in (1.0, -1.0):
        part, p = outlying_part(turned * crowd, 0.01)
        assert set(np.flatnonzero(part)) == {3, 8, 30}
        assert p < 0.001


@pytest.mark.parametrize("largest", [1 / 3, 1e-8, 5.3])
@pytest.mark.parametrize("seed", range(20))
def test_numbers_that_differ_by_rounding_alone_are_of_one_piece(largest, seed):
    """Without a difference no split has a distance either; the sums of squares there are rounding alone."""
    rng = np.random.default_rng(seed)
    values = np.full(9, largest)
    values[:4] += rng.integers(-2, 3, size=4) * np.spacing(largest)
    part, _ = outlying_part(values, 0.5)
    assert not part.any()
    assert not np.isnan(best_splits(np.sort(values)[None])[0]).any()


@pytest.mark.parametrize("values", [[], [1.0, 9.0, 9.0], [2.0] * 8, [0.0, 0.0, 0.0, 5.0, 5.0, 5.0]])
def test_too_few_equal_or_evenly_split_numbers_have_no_outlying_part(values):
    part, _ = outlying_part(np.array(values), 0.5)
    assert part.shape == (len(values),)
    assert not part.any()


def test_neither_scale_nor_place_matters():
    values = np.append(np.random.default_rng(3).normal(size=20), [8.0, 8.5])
    part, p = outlying_part(values, 0.01)
    for scale, place in ((1e6, 0.0), (1e-6, 0.0), (1.0, 50.0)):
        same, again = outlying_part(scale * values + place, 0.01)
        assert (same == part).all()
        assert again == p


def test_leading_coordinates_are_those_of_a_singular_value_decomposition():
    rows = np.random.default_rng(4).normal(size=(12, 30))
    left, values, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    found = leading_coordinates(rows @ rows.T, 2)
    assert np.abs(found) == pytest.approx(np.abs((left * values)[:, :2].T))


def test_members_of_a_part_have_it_in_common_and_two_odd_clients_do_not():
    rng = np.random.default_rng(5)
    rows, shared = 0.3 * rng.normal(size=(15, 100)), rng.normal(size=100)
    rows[:3] += shared
    rows[3] += 3 * rng.normal(size=100)  # odd by itself
    part = np.arange(15) < 4
    assert set(np.flatnonzero(alike(rows @ rows.T, part))) == {0, 1, 2}
    assert not alike(rows @ rows.T, np.isin(np.arange(15), [2, 3])).any()


@pytest.mark.parametrize("size", [2, 3, 7, 12])
def test_the_closest_group_is_that_of_a_client_and_those_nearest_to_it(size):
    rows = np.random.default_rng(6).normal(size=(12, 8))
    cosine = at_one_length(rows @ rows.T) - np.eye(12)
    found = []
    for i in range(12):
        near = sorted(set(range(12)) - {i}, key=lambda j: -cosine[i, j])
        group = [i, *near[: size - 1]]
        found.append(np.mean([cosine[a, b] for a in group for b in group if a != b]))
    assert closest_group(cosine, size) == pytest.approx(max(found))


def test_the_longest_updates_have_no_more_in_common_than_others_who_are_near_each_other():
    """Two long rows at a cosine of 0.45: alike, unless two others are nearer to each other than that."""
    rows = np.random.default_rng(7).normal(size=(30, 200))
    rows[1] = 0.45 * rows[0] + (1 - 0.45**2) ** 0.5 * rows[1]
    rows[:2] *= 5
    part = np.arange(30) < 2
    assert set(np.flatnonzero(alike(rows @ rows.T, part))) == {0, 1}
    rows[3] = rows[2] + 0.5 * rows[3]
    assert not alike(rows @ rows.T, part).any()


def test_clients_that_only_lack_what_the_others_share_have_nothing_in_common():
    """As seen from the others' mean they all point away from what these share, at a cosine of about 0.5."""
    rng = np.random.default_rng(8)
    rows = rng.normal(size=300) + 0.3 * rng.normal(size=(30, 300))
    rows[:4] = rng.normal(size=(4, 300))
    assert not alike(at_one_length(rows @ rows.T), np.arange(30) < 4).any()


def test_clients_that_send_just_what_the_others_share_have_nothing_left_to_compare():
    """Less their mean's direction, multiples of one update leave rounding error, of either sign."""
    rng = np.random.default_rng(9)
    for _ in range(10):
        direction = rng.normal(size=300).astype(np.float32)
        rows = direction * np.linspace(0.5, 2.0, 11)[:, None]
        with np.errstate(all="raise"):
            assert not alike(rows @ rows.T, np.arange(11) < 5).any()
