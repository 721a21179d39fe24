"""Oracles: hand cases of the robustness spec, section 5.2."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.signguard import SignGuard


def test_the_four_liars_are_left_out(four_liars):
    """Mostly positive coordinates, so that flipping turns the balance of signs."""
    vectors = four_liars.vectors.clone()
    vectors[:16], vectors[16:] = vectors[:16].abs(), -vectors[16:].abs()
    verdict, _ = SignGuard(block_share=1.0).aggregate(four_liars.with_vectors(vectors), None)
    assert set(verdict.flags) == {16, 17, 18, 19}


def test_updates_far_shorter_or_longer_than_the_median_fail(cohort):
    """By hand: all signs alike, the median norm is 1; 0.1 and 3 times that are just outside."""
    lengths = [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.11, 3.0, 2.99]
    verdict, _ = SignGuard().aggregate(cohort([[length] for length in lengths]), None)
    assert set(verdict.flags) == {55, 75}
    clipped = [1.0] * 5 + [0.11, 1.0]
    assert verdict.aggregate.item() == pytest.approx(np.mean(clipped))


@pytest.mark.parametrize("length", [0.0, 2.0])
def test_where_all_updates_are_equal_nobody_is_flagged(cohort, length):
    """Zeros are as long as the median, which is 0: neither shorter nor longer."""
    verdict, _ = SignGuard().aggregate(cohort([[length]] * 6), None)
    assert not verdict.flags
    assert verdict.aggregate.tolist() == [length]
    assert verdict.weights.tolist() == pytest.approx([1 / 6] * 6)


def test_among_zeros_whoever_sends_something_is_left_out(cohort):
    verdict, _ = SignGuard().aggregate(cohort([[0.0]] * 5 + [[1.0]]), None)
    assert set(verdict.flags) == {55}


def test_signs_not_magnitudes_are_clustered(cohort):
    """Six rows with signs (+, +, -), two with (-, -, +); every norm is 1."""
    honest = np.array([[0.9, 0.3, -0.3], [0.3, 0.9, -0.3], [0.3, 0.3, -0.9]] * 2)
    rows = np.vstack([honest, -honest[:2]])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    verdict, _ = SignGuard(block_share=1.0).aggregate(cohort(rows), None)
    assert set(verdict.flags) == {65, 75}
    np.testing.assert_allclose(verdict.aggregate, rows[:6].mean(axis=0), atol=1e-12)


def test_the_block_is_contiguous_and_drawn_anew_in_every_round(cohort, at):
    """One in ten coordinates: a liar that differs in one of them is caught in about one of ten rounds."""
    rows = np.ones((9, 10))
    rows[4, 3] = -1.0
    caught = [bool(SignGuard().aggregate(at(cohort(rows), t), None)[0].flags) for t in range(200)]
    assert 8 <= sum(caught) <= 36  # 20 expected, standard deviation 4.2
    assert caught[:5] == [bool(SignGuard().aggregate(at(cohort(rows), t), None)[0].flags) for t in range(5)]


@pytest.mark.parametrize("reference", ["cosine", "distance"])
def test_the_last_aggregate_tells_apart_what_signs_cannot(cohort, reference):
    """Half plus, half minus for all: only the angle (and the distance) to the last aggregate differs."""
    honest, liar = np.tile([1.0, -1.0], 5), np.tile([-1.0, 1.0], 5)
    rows = np.vstack([honest] * 7 + [liar] * 2)
    defense = SignGuard(block_share=1.0, reference=reference)
    first, state = defense.aggregate(cohort(rows), None)
    assert not first.flags
    assert torch.equal(state, first.aggregate)
    second, _ = defense.aggregate(cohort(rows), state)
    assert set(second.flags) == {75, 85}


def test_without_a_reference_nothing_is_remembered(cohort):
    assert SignGuard().aggregate(cohort(np.eye(3)), None)[1] is None


def test_equals_among_few_clients_are_equals_whatever_rounding_leaves_of_their_distance(cohort):
    """Eight of 20 coordinates positive, twice, and ten: a third of the distances is 0, up to rounding.

    scikit-learn's bandwidth is 7e-9 there, in which no client is found.
    """
    rows = -np.ones((3, 20))
    rows[:2, :8], rows[2, :10] = 1.0, 1.0
    verdict, _ = SignGuard(block_share=1.0).aggregate(cohort(rows), None)
    assert set(verdict.flags) == {25}
    np.testing.assert_array_equal(verdict.aggregate, rows[0])


def test_distances_beyond_float32_are_still_numbers(cohort):
    """The largest floats, on either side of the last aggregate: a difference in float32 would be infinite."""
    rows = torch.full((5, 4), 3.4e38)
    defense = SignGuard(block_share=1.0, reference="distance")
    verdict, _ = defense.aggregate(cohort(rows), -rows[0])
    assert not verdict.flags
    assert torch.equal(verdict.aggregate, rows[0])


@pytest.mark.parametrize(
    "options",
    [{"least_norm": 3.0}, {"least_norm": -1.0}, {"block_share": 0.0}, {"reference": "median"}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SignGuard(**options)
