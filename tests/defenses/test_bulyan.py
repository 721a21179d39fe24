"""Oracles: the golden matrix of the robustness spec, section 7; a hand case; flwr's newer Bulyan."""

from importlib import import_module

import numpy as np
import pytest
import torch

from gauntlet.defenses.bulyan import Bulyan
from gauntlet.defenses.mean import Mean

GOLDEN = {
    "iterative": [0.200512116, -0.067943687, -0.031402459, -0.761009837, -0.109911966],
    "oneshot": [0.200512116, 0.030467891, -0.031402459, -0.628214730, -0.109911966],
}


@pytest.mark.parametrize("selection", ["iterative", "oneshot"])
def test_the_golden_aggregates_are_found(golden_cohort, selection):
    """Spec 7: flwr's legacy Bulyan is iterative, its new one takes the best of one scoring."""
    verdict, _ = Bulyan(2, selection=selection).aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN[selection], atol=1e-9)


def test_by_hand_on_a_line(cohort):
    """Values 0..5 and 100, f = 1: Krum one by one takes 2, 1, 3, 0, 4 (neighbours 4, 3, 2, 1, 1), of which
    the three nearest to their median 2 are 1, 2, 3."""
    verdict, _ = Bulyan(1).aggregate(cohort([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [100.0]]), None)
    assert verdict.aggregate.item() == 2.0


def test_without_malicious_clients_it_is_the_mean(golden_cohort):
    mean, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    for selection in ("iterative", "oneshot"):
        verdict, _ = Bulyan(0, selection=selection).aggregate(golden_cohort, None)
        torch.testing.assert_close(verdict.aggregate, mean.aggregate)


@pytest.mark.parametrize("selection", ["iterative", "oneshot"])
def test_identical_attackers_far_away_are_ignored(cohort, selection):
    honest = np.random.default_rng(0).normal(size=(9, 3))
    rows = np.concatenate([np.full((2, 3), 1e6), honest])
    verdict, _ = Bulyan(2, selection=selection).aggregate(cohort(rows), None)
    assert (verdict.aggregate.numpy() <= honest.max(axis=0)).all()
    assert (verdict.aggregate.numpy() >= honest.min(axis=0)).all()


def test_a_cohort_that_is_too_small_is_refused_or_falls_back(cohort):
    with pytest.raises(ValueError, match="2 malicious clients needs a cohort of 11 or more, got 3"):
        Bulyan(2).aggregate(cohort(np.eye(3)), None)
    median, _ = Bulyan(2, on_infeasible="median").aggregate(cohort(np.eye(3)), None)
    assert median.aggregate.tolist() == [0.0] * 3
    assert [Bulyan(f).least_cohort for f in (0, 1, 2)] == [1, 7, 11]
    assert Bulyan(2, on_infeasible="mean").least_cohort == 1


def test_an_unknown_selection_is_refused():
    with pytest.raises(ValueError, match="selection must be iterative or oneshot, got 'all'"):
        Bulyan(2, selection="all")


def test_flwrs_new_bulyan_agrees(cohort):
    """flwr 1.41, ``flwr.serverapp``: the best of one scoring."""
    app = import_module("flwr.app")
    multikrum = import_module("flwr.serverapp.strategy.multikrum")
    bulyan = import_module("flwr.serverapp.strategy.bulyan")
    for seed in range(15):
        rows = np.random.default_rng(seed).normal(size=(11 + seed, 9))
        contents = [app.RecordDict({"arrays": app.ArrayRecord([row])}) for row in rows]
        chosen = multikrum.select_multikrum(contents, 2, len(rows) - 4)
        picked = [[c["arrays"].to_numpy_ndarrays()[0]] for c in chosen]
        centre = [np.median([p[0] for p in picked], axis=0)]
        expected = bulyan.aggregate_n_closest_weights(centre, picked, len(rows) - 8)[0]
        verdict, _ = Bulyan(2, selection="oneshot").aggregate(cohort(rows), None)
        np.testing.assert_allclose(verdict.aggregate, expected, atol=1e-12)
        single, _ = Bulyan(2, selection="oneshot").aggregate(cohort(torch.tensor(rows).float()), None)
        np.testing.assert_allclose(single.aggregate, expected, atol=1e-6)
