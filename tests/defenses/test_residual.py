"""Oracles: SciPy's Siegel slopes, the formulas typed once more client by client, and hand cases."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import siegelslopes

from gauntlet.defenses.mean import Mean
from gauntlet.defenses.residual import Residual, _line


def by_hand(rows, clip, threshold):
    """Return the aggregate and the weights, one coordinate and client after the other."""
    size, total, pulled = len(rows), np.zeros(len(rows)), rows.copy()
    x = np.arange(size)
    design = np.stack([np.ones(size), x], axis=1)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    for column in range(rows.shape[1]):
        y = np.sort(rows[:, column])
        slope = siegelslopes(y, x).slope
        line = np.median(y) + slope * (x - np.median(x))
        residual = y - line
        tau = 1.4826 * (1 + 5 / (size - 1)) * np.median(np.sort(abs(residual))[1:])
        sure = np.empty(size)
        for k in range(size):
            e, left = residual[k] / tau, math.sqrt(1 - hat[k, k])
            bound = clip * math.sqrt(2 / size)
            sure[k] = left / e * max(-bound, min(bound, e / left)) if e else 1.0
        for k, client in enumerate(np.argsort(rows[:, column])):
            total[client] += sure[k] * sure.std(ddof=1)
            if sure[k] < threshold:
                pulled[client, column] = line[k]
    weights = (total / total.max()) ** 2
    return weights / weights.sum() @ pulled, weights / weights.sum()


@pytest.mark.parametrize("size", [3, 6, 11])
def test_it_is_the_papers_rule_client_by_client(cohort, size):
    for seed in range(6):
        rows = np.random.default_rng(seed).normal(size=(size, 5))
        rows[0] *= 30
        clip, threshold = (2.0, 0.1) if seed % 2 else (0.7, 0.6)
        verdict, _ = Residual(clip, threshold).aggregate(cohort(rows), None)
        aggregate, weights = by_hand(rows, clip, threshold)
        np.testing.assert_allclose(list(verdict.scores.values()), weights, rtol=1e-9)
        np.testing.assert_allclose(verdict.aggregate, aggregate, rtol=1e-9, atol=1e-12)


def test_the_line_is_that_of_repeated_medians():
    """By hand: 0, 1, 2, 3, 100 lie on y = x but for the last: slope 1 through the median 2 at rank 2."""
    assert _line(np.array([[0.0, 1.0, 2.0, 3.0, 100.0]])).tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]


def test_blocks_of_columns_change_nothing(cohort, monkeypatch):
    rows = np.random.default_rng(1).normal(size=(7, 40))
    whole = Residual().aggregate(cohort(rows), None)[0].aggregate
    monkeypatch.setattr("gauntlet.defenses.residual.BLOCK_ELEMENTS", 7 * 7 * 3)
    np.testing.assert_allclose(Residual().aggregate(cohort(rows), None)[0].aggregate, whole, rtol=1e-12)


def test_flipped_updates_weigh_little_and_agreeing_ones_do_not(four_liars):
    """Four of twenty at -x have under a hundredth each; eight that agree elsewhere have a fifth together."""
    verdict, _ = Residual().aggregate(four_liars, None)
    liars = sum(verdict.scores[i] for i in range(16, 20))
    assert liars < 0.04
    rows = four_liars.vectors.clone()
    rows[12:] = rows[0] + 0.1
    verdict, _ = Residual().aggregate(four_liars.with_vectors(rows), None)
    assert sum(verdict.scores[i] for i in range(12, 20)) > 0.2


def test_two_clients_are_averaged(cohort):
    rows = np.array([[1.0, 2.0], [3.0, 8.0]])
    mean, _ = Mean(weighting="uniform").aggregate(cohort(rows), None)
    np.testing.assert_allclose(Residual().aggregate(cohort(rows), None)[0].aggregate, mean.aggregate)


@pytest.mark.parametrize("options", [{"clip": 0.0}, {"threshold": 1.5}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="clip must be above 0 and finite, threshold in"):
        Residual(**options)


def test_the_longest_numbers_overflow_nothing(cohort):
    rows = torch.full((5, 3), 3e38)
    rows[0] = 1e-3
    verdict, _ = Residual().aggregate(cohort(rows), None)
    assert verdict.aggregate.isfinite().all()
    assert verdict.scores[5] < 0.2
