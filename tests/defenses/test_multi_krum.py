"""Oracle: the golden matrix of the robustness spec, section 7."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.krum import Krum
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.multi_krum import MultiKrum

GOLDEN = {
    "byzfl": [-0.443798547, -0.409095200, -0.208812950, -0.314456761, 0.142766726],
    "paper": [-0.594933406, -0.033968267, -0.135696625, -0.380342255, 0.352445344],
}


@pytest.mark.parametrize("neighbours", ["paper", "byzfl"])
def test_the_golden_mean_of_the_best_is_found(golden_cohort, neighbours):
    """Spec 7, rows ``multi-Krum``: flwr and Blades with 7 neighbours, byzfl with 8; m = K - f = 9."""
    verdict, _ = MultiKrum(2, neighbours=neighbours).aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN[neighbours], atol=1e-9)
    assert int((verdict.weights > 0).sum()) == 9
    assert float(verdict.weights.sum()) == pytest.approx(1)


def test_the_golden_mean_of_the_preset_is_found(golden_cohort):
    """Spec 7, row ``multi-Krum MH (rows 7,1,0,2,6)``."""
    verdict, _ = MultiKrum(2, preset="mudhog_repo").aggregate(golden_cohort, None)
    golden = [-0.567648958, 0.041100233, 0.215472486, -0.741140815, -0.031040167]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)
    assert verdict.weights.nonzero().flatten().tolist() == [0, 1, 2, 6, 7]


def test_the_weights_say_how_the_aggregate_was_made(golden_cohort):
    verdict, _ = MultiKrum(2, num_selected=4).aggregate(golden_cohort, None)
    torch.testing.assert_close(verdict.weights @ golden_cohort.vectors, verdict.aggregate)


def test_selecting_one_is_krum(golden_cohort):
    one, _ = MultiKrum(2, num_selected=1).aggregate(golden_cohort, None)
    assert torch.equal(one.aggregate, Krum(2).aggregate(golden_cohort, None)[0].aggregate)


def test_without_malicious_clients_it_is_the_mean(golden_cohort):
    verdict, _ = MultiKrum(0).aggregate(golden_cohort, None)
    mean, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    torch.testing.assert_close(verdict.aggregate, mean.aggregate)


def test_outliers_as_many_as_promised_are_left_out(cohort):
    """m = K - f = 5 honest rows remain, whose mean is known."""
    honest = np.random.default_rng(0).normal(size=(5, 3))
    verdict, _ = MultiKrum(2).aggregate(cohort(np.concatenate([np.full((2, 3), 1e6), honest])), None)
    np.testing.assert_allclose(verdict.aggregate, honest.mean(axis=0), atol=1e-12)


def test_options_and_cohorts_out_of_range_are_refused(cohort):
    with pytest.raises(ValueError, match="num_selected must be at least 1, got 0"):
        MultiKrum(2, num_selected=0)
    with pytest.raises(ValueError, match="needs a cohort of 5 or more, got 4"):
        MultiKrum(1).aggregate(cohort(np.eye(4)), None)
