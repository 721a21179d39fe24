"""Oracles: the golden matrix of the robustness spec, section 7; a hand case."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.mean import Mean
from gauntlet.defenses.nnm import NNM
from gauntlet.defenses.trimmed_mean import TrimmedMean


def test_the_golden_mixture_is_found(golden_cohort):
    """Spec 7, row ``MoNNA row 0 = NNM row 0``, and ``NNM then trimmed mean``."""
    mixed, _ = NNM(2).transform(golden_cohort, None)
    row = [-0.345772531, -0.278812404, -0.199804379, -0.520314738, -0.013105132]
    np.testing.assert_allclose(mixed.vectors[0], row, atol=1e-9)
    trimmed = [-0.448644450, -0.258970895, -0.164089448, -0.466137713, 0.199450367]
    np.testing.assert_allclose(TrimmedMean(2).aggregate(mixed, None)[0].aggregate, trimmed, atol=1e-9)


def test_neighbours_are_found_by_hand(cohort):
    """Points 0, 1, 5, 6 on a line, two of a kind each: 0.5 and 5.5."""
    mixed, _ = NNM(2).transform(cohort([[0.0], [5.0], [1.0], [6.0]]), None)
    assert mixed.vectors[:, 0].tolist() == [0.5, 5.5, 0.5, 5.5]


def test_without_malicious_clients_everybody_sends_the_mean(golden_cohort):
    mixed, _ = NNM(0).transform(golden_cohort, None)
    mean = Mean(weighting="uniform").aggregate(golden_cohort, None)[0].aggregate
    torch.testing.assert_close(mixed.vectors, mean.repeat(11, 1))


def test_who_sent_a_row_does_not_matter(golden_cohort):
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    mixed, _ = NNM(3).transform(golden_cohort, None)
    permuted, _ = NNM(3).transform(golden_cohort.with_vectors(golden_cohort.vectors[order]), None)
    torch.testing.assert_close(permuted.vectors, mixed.vectors[order])


def test_a_cohort_of_none_but_malicious_clients_is_refused(cohort):
    with pytest.raises(ValueError, match="mixing 2 clients out needs a cohort above 2, got 2"):
        NNM(2).transform(cohort(np.eye(2)), None)
    with pytest.raises(ValueError, match="num_byzantine must be at least 0, got -1"):
        NNM(-1)
