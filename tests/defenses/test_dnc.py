"""Oracles: the golden values of the robustness spec (section 7); numpy's SVD."""

import numpy as np
import pytest
import torch

from gauntlet.core.updates import Updates
from gauntlet.defenses.dnc import DnC, spectral_scores

GOLDEN = [-0.443798547, -0.409095200, -0.208812950, -0.314456761, 0.142766726]


@pytest.mark.parametrize("options", [{}, {"repeats": 1}, {"num_byzantine": 1, "drop_factor": 2.9}])
def test_the_golden_aggregate_is_found(golden_cohort, options):
    """All coordinates are drawn: rows 3 and 9 go, as in MDA."""
    verdict, _ = DnC(**({"num_byzantine": 2} | options)).aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN, atol=1e-8)
    assert set(verdict.flags) == {35, 95}
    assert sorted(verdict.scores, key=verdict.scores.get)[-2:] == [35, 95]


def test_the_scores_are_squared_projections_on_the_first_right_singular_vector():
    for seed in range(10):
        rows = np.random.default_rng(seed).normal(size=(8, 30))
        centred = rows - rows.mean(axis=0)
        first = np.linalg.svd(centred)[2][0]
        np.testing.assert_allclose(spectral_scores(rows), (centred @ first) ** 2, atol=1e-10)


def test_a_client_must_survive_every_repeat(cohort, at):
    """One coordinate a repeat, and each liar stands out in one only: with enough repeats both go."""
    rows = 0.01 * np.random.default_rng(1).normal(size=(10, 2))
    rows[2, 0], rows[7, 1] = 5.0, -5.0
    verdict, _ = DnC(1, num_coordinates=1, repeats=20).aggregate(at(cohort(rows)), None)
    assert set(verdict.flags) == {25, 75}
    assert verdict.weights.count_nonzero() == 8


def test_coordinates_are_drawn_anew_in_every_round_and_for_every_seed(cohort, at):
    updates = cohort(np.random.default_rng(2).normal(size=(9, 200)))
    defense = DnC(2, num_coordinates=3, repeats=1)
    scores = [
        tuple(defense.aggregate(at(updates, round_, seed=seed), None)[0].scores.values())
        for round_, seed in ((0, 0), (1, 0), (0, 1), (0, 0))
    ]
    assert scores[0] == scores[3]
    assert len(set(scores)) == 3


def test_a_small_cohort_is_refused_or_handed_on(cohort):
    updates = cohort([[1.0], [5.0]])
    with pytest.raises(ValueError, match="dropping 2 needs a cohort above that, got 2"):
        DnC(2).aggregate(updates, None)
    assert DnC(2, on_infeasible="mean").aggregate(updates, None)[0].aggregate.tolist() == [3.0]
    assert DnC(2, drop_factor=1.6).least_cohort == 4


@pytest.mark.parametrize("option", ["num_coordinates", "repeats", "drop_factor", "num_byzantine"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        DnC(**({"num_byzantine": 1} | {option: -1}))


def test_a_decoy_decides_who_goes():
    """A known limit of the paper's algorithm: of f attackers one draws the direction, and the others stay."""
    rng = np.random.default_rng(0)
    rows = np.ones(30) + rng.normal(size=(20, 30))
    mean = rows[4:].mean(axis=0)
    rows[0], rows[1:4] = -1e4 * mean, -20 * mean
    updates = Updates(torch.tensor(rows), torch.arange(20), torch.full((20,), 10))
    flagged = DnC(num_byzantine=4).aggregate(updates, None)[0].flags
    assert 0 in flagged
    assert len(flagged) == 4
    assert not {1, 2, 3} & set(flagged)
