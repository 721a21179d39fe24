"""Oracles: the golden values of the robustness spec (section 7); hand cases."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.clipped_clustering import ClippedClustering

GOLDEN = [-0.500166567, -0.015572212, -0.134188576, -0.548696662, 0.178935461]


def run(updates, state=None, **options):
    defense = ClippedClustering(**options)
    return defense.aggregate(updates, defense.init() if state is None else state)


def test_the_golden_aggregate_is_found(golden_cohort):
    """First call: rows 5 and 10 are rejected."""
    verdict, _ = run(golden_cohort)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN, atol=1e-6)
    assert set(verdict.flags) == {55, 105}
    np.testing.assert_allclose(verdict.weights.numpy() @ golden_cohort.vectors.numpy(), GOLDEN, atol=1e-6)


def test_the_linkage_decides(golden_cohort):
    """Complete linkage as SciPy has it: rows 4, 6, 8, 9 form the smaller part."""
    assert set(run(golden_cohort, linkage="complete")[0].flags) == {45, 65, 85, 95}


def test_the_bound_is_the_median_of_all_norms_so_far(cohort):
    """By hand: norms 1, 1, 1, then 4, 4, 4: the median of all six is 2.5; of the last four it is 4."""
    _, state = run(cohort(np.ones((3, 1))))
    verdict, after = run(cohort(np.full((3, 1), 4.0)), state)
    assert (verdict.aggregate.item(), after.tolist()) == (2.5, [1, 1, 1, 4, 4, 4])
    verdict, after = run(cohort(np.full((3, 1), 4.0)), state, max_norms=4)
    assert (verdict.aggregate.item(), after.tolist()) == (4.0, [1, 4, 4, 4])
    assert run(cohort(np.full((3, 1), 4.0)), max_clip_norm=3.0)[0].aggregate.item() == 3.0


def test_of_two_equal_parts_that_of_the_first_client_stays(cohort):
    verdict, _ = run(cohort([[1.0], [-1.0], [-1.0], [1.0]]))
    assert set(verdict.flags) == {15, 25}


def test_an_update_without_length_is_far_from_all(cohort):
    verdict, _ = run(cohort([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    assert set(verdict.flags) == {15}


def test_one_direction_or_two_clients_are_not_split(cohort):
    assert not run(cohort([[1.0], [2.0], [3.0], [4.0]]))[0].flags
    assert not run(cohort([[1.0], [-2.0]]))[0].flags


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="linkage must be one of average, complete, single, got 'ward'"):
        ClippedClustering(linkage="ward")
    with pytest.raises(ValueError, match="max_clip_norm must be above 0 and finite, got 0"):
        ClippedClustering(max_clip_norm=0)
    with pytest.raises(ValueError, match="max_norms must be at least 1, got 0"):
        ClippedClustering(max_norms=0)


def test_the_four_liars_are_left_out(four_liars):
    assert set(run(four_liars)[0].flags) == {16, 17, 18, 19}
    assert torch.equal(run(four_liars)[0].weights[16:], torch.zeros(4, dtype=torch.float64))
