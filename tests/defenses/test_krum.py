"""Oracles: the golden matrix of the robustness spec, section 7; hand cases."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.krum import Krum

GOLDEN_SCORES = {
    "paper": "27.765800 43.304003 30.159256 58.016624 45.360939 54.034477 36.196022 29.790405 39.806384 "
    "50.741623 40.899135",
    "byzfl": "34.157711 53.787193 38.764341 71.853860 54.511133 63.963407 45.079126 37.689865 48.591958 "
    "66.591616 50.623143",
}


@pytest.mark.parametrize("neighbours", ["paper", "byzfl"])
def test_the_golden_scores_and_choice_are_found(golden_cohort, neighbours):
    """Spec 7: 7 neighbours in the paper, 8 in byzfl; X[0] wins with both."""
    verdict, _ = Krum(2, neighbours=neighbours).aggregate(golden_cohort, None)
    golden = [float(score) for score in GOLDEN_SCORES[neighbours].split()]
    assert list(verdict.scores) == golden_cohort.client_ids.tolist()
    np.testing.assert_allclose(list(verdict.scores.values()), golden, atol=1e-6)
    assert torch.equal(verdict.aggregate, golden_cohort.vectors[0])
    assert verdict.weights.tolist() == [1.0] + [0.0] * 10
    assert verdict.flags == {}


def test_the_golden_choice_of_the_preset_is_found(golden_cohort, cohort):
    """Spec 7, row ``Krum MH (f=n//2, unsquared)``: X[7]; any cohort will do."""
    verdict, _ = Krum(2, preset="mudhog_repo").aggregate(golden_cohort, None)
    assert torch.equal(verdict.aggregate, golden_cohort.vectors[7])
    distances = torch.cdist(golden_cohort.vectors, golden_cohort.vectors)
    nearest = distances.sort(dim=1).values[:, :5].sum(dim=1)  # K - 11 // 2 - 2 others and itself
    np.testing.assert_allclose(list(verdict.scores.values()), nearest, atol=1e-9)
    small, _ = Krum(3, preset="mudhog_repo").aggregate(cohort([[1.0], [2.0]]), None)
    assert small.aggregate.item() == 1.0
    with pytest.raises(ValueError, match="preset must be mudhog_repo, got 'byzfl'"):
        Krum(1, preset="byzfl")


def test_identical_attackers_far_away_are_not_chosen(cohort):
    """Two copies are each other's neighbours at distance 0, but K - f - 2 = 3 neighbours are counted."""
    rows = np.concatenate([np.full((2, 3), 1e6), np.random.default_rng(0).normal(size=(5, 3))])
    verdict, _ = Krum(2).aggregate(cohort(rows), None)
    assert verdict.weights[:2].sum() == 0


def test_of_equals_the_first_client_wins(cohort):
    """By hand: the five corners 1, 1, 1, 0, 2: the three ones tie, itself does not count as a neighbour."""
    updates = cohort([[0.0], [1.0], [2.0], [1.0], [1.0]])
    verdict, _ = Krum(1).aggregate(updates, None)
    assert verdict.weights.tolist() == [0, 1, 0, 0, 0]
    assert list(verdict.scores.values()) == [2.0, 0.0, 2.0, 0.0, 0.0]


def test_the_cohort_must_be_able_to_outvote_the_malicious(cohort):
    with pytest.raises(
        ValueError, match="Krum against 2 malicious clients needs a cohort of 7 or more, got 6"
    ):
        Krum(2).aggregate(cohort(np.eye(6)), None)
    verdict, _ = Krum(2, on_infeasible="median").aggregate(cohort(np.eye(6)), None)
    assert verdict.aggregate.tolist() == [0.0] * 6


@pytest.mark.parametrize("cohort_size", [1, 2, 3])
def test_with_nobody_malicious_any_cohort_will_do(cohort, cohort_size):
    updates = cohort(np.eye(3)[:cohort_size])
    verdict, _ = Krum(0).aggregate(updates, None)
    assert torch.equal(verdict.aggregate, updates.vectors[0])
    scores = [0.0] if cohort_size == 1 else [2.0] * cohort_size  # ||e_i - e_j||^2 to one neighbour
    assert list(verdict.scores.values()) == pytest.approx(scores)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_byzantine must be at least 0, got -2"):
        Krum(-2)
    with pytest.raises(ValueError, match="neighbours must be paper or byzfl, got 'all'"):
        Krum(1, neighbours="all")


def test_the_least_cohort_is_the_one_that_does_not_raise():
    assert [Krum(f).least_cohort for f in (0, 1, 2)] == [1, 5, 7]
    assert Krum(2, on_infeasible="mean").least_cohort == 1
