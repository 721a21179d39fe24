"""Oracles: the golden matrix of the robustness spec, section 7; NNM's row."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.monna import MoNNA
from gauntlet.defenses.nnm import NNM


def test_the_golden_neighbourhood_is_found(golden_cohort):
    """Spec 7, row ``MoNNA row 0 = NNM row 0``; row 0 is client 5."""
    verdict, _ = MoNNA(2, trusted_client=5).aggregate(golden_cohort, None)
    golden = [-0.345772531, -0.278812404, -0.199804379, -0.520314738, -0.013105132]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


def test_trusting_a_client_gives_its_row_of_nnm(golden_cohort):
    mixed, _ = NNM(3).transform(golden_cohort, None)
    for row, client in enumerate(golden_cohort.client_ids.tolist()):
        verdict, _ = MoNNA(3, trusted_client=client).aggregate(golden_cohort, None)
        torch.testing.assert_close(verdict.aggregate, mixed.vectors[row])
        assert verdict.scores[client] == 0


def test_a_copy_of_the_trusted_update_does_not_push_it_out(cohort):
    """By hand: three copies, one place: the trusted one is taken, not the first."""
    verdict, _ = MoNNA(1, trusted_client=25).aggregate(cohort([[1.0], [1.0], [1.0]]), None)
    assert verdict.weights.tolist() == [0.5, 0.0, 0.5]


def test_without_the_trusted_client_it_raises_or_falls_back(cohort):
    updates = cohort([[0.0], [1.0], [8.0]])
    words = (
        "the trusted client 7 is not in the cohort; set trusted_client to one that comes in every round, or "
    )
    with pytest.raises(ValueError, match=words):
        MoNNA(1, trusted_client=7).aggregate(updates, None)
    verdict, _ = MoNNA(1, trusted_client=7, on_infeasible="median").aggregate(updates, None)
    assert verdict.aggregate.item() == 1.0


def test_options_and_cohorts_out_of_range_are_refused(cohort):
    with pytest.raises(ValueError, match="MoNNA against 2 malicious clients needs a cohort above 4, got 4"):
        MoNNA(2, trusted_client=5).aggregate(cohort(np.eye(4)), None)
    with pytest.raises(ValueError, match="trusted_client must be at least 0, got -1"):
        MoNNA(2, trusted_client=-1)
