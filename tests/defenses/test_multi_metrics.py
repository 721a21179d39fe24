"""Oracles: the paper's definition and the authors' sums over pairs in plain numpy loops."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.multi_metrics import MultiMetrics, whitened_lengths


def by_definition(rows, w):
    """Oracle: x' of the three metrics to the global model."""
    x = np.array([[np.abs(r).sum(), np.linalg.norm(r), _cosine(w + r, w)] for r in rows])
    return np.array([sum(np.abs(own - other) for other in x) for own in x])


def by_pairs(rows, w):
    """Oracle: what the authors sum over all other clients of a model."""
    models, found = rows + w, np.zeros((len(rows), 3))
    for i, a in enumerate(models):
        for j, b in enumerate(models):
            if i != j:
                lengths = np.linalg.norm(a) - np.linalg.norm(b)
                found[i] += [(1 - _cosine(a, b)) ** 2, np.abs(a - b).sum(), abs(lengths)]
    return found


def _cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(("metrics", "oracle"), [("paper", by_definition), ("pairs", by_pairs)])
def test_scores_and_choice_are_those_of_the_definition(golden_cohort, at, metrics, oracle):
    params = np.random.default_rng(3).normal(size=5)
    updates = at(golden_cohort, params=torch.from_numpy(params))
    verdict, _ = MultiMetrics(metrics=metrics).aggregate(updates, None)

    rows = golden_cohort.vectors.numpy()
    x = oracle(rows, params)
    inverse = np.linalg.inv(np.cov(x.T))
    scores = np.array([np.sqrt(one @ inverse @ one) for one in x])
    chosen = np.argsort(scores)[:3]  # 0.3 of 11
    np.testing.assert_allclose(list(verdict.scores.values()), scores, rtol=1e-9)
    np.testing.assert_allclose(verdict.aggregate, rows[chosen].mean(axis=0), atol=1e-12)
    assert set(verdict.flags) == set((10 * np.delete(np.arange(11), chosen) + 5).tolist())


def test_no_unit_decides_and_a_feature_that_says_the_same_counts_once():
    """Scaling one of three features changes no score; a copy of another one neither; a constant nothing."""
    x = np.random.default_rng(5).normal(size=(9, 2)) + 4
    alone = whitened_lengths(x)
    np.testing.assert_allclose(whitened_lengths(x * np.array([1e9, 1e-9])), alone, rtol=1e-6)
    np.testing.assert_allclose(whitened_lengths(np.column_stack([x, x[:, 1]])), alone, rtol=1e-6)
    np.testing.assert_allclose(whitened_lengths(np.column_stack([x, np.full(9, 7.0)])), alone, rtol=1e-6)
    assert whitened_lengths(np.ones((4, 3))).tolist() == [0.0] * 4
    assert whitened_lengths(np.ones((1, 3))).tolist() == [0.0]


@pytest.mark.parametrize("far", [10.0, 1e6])
def test_one_attacker_far_away_is_measured_by_its_own_covariance(far):
    """By hand, 11 clients at 1 and one at 11 (in units of ``far``): the standard deviation is sqrt(100 / 12).

    So its score is 11 / sqrt(100 / 12), however far it is.
    """
    x = far * np.array([[1.0]] * 11 + [[11.0]])
    np.testing.assert_allclose(whitened_lengths(x)[[0, 11]], np.array([1, 11]) / np.sqrt(100 / 12))


def test_of_equals_the_first_stay_and_at_least_one(cohort, at):
    verdict, _ = MultiMetrics(kept_share=0.1).aggregate(at(cohort(np.ones((4, 3)))), None)
    assert set(verdict.flags) == {15, 25, 35}


def test_a_share_of_clients_is_not_lost_to_rounding(cohort, at):
    """0.58 of 50 clients are 29, and 28.999999999999996 in floating point."""
    verdict, _ = MultiMetrics(kept_share=0.58).aggregate(at(cohort(np.ones((50, 2)))), None)
    assert len(verdict.flags) == 21


def test_it_says_what_it_lacks(cohort):
    with pytest.raises(ValueError, match="multi_metrics needs the global parameters"):
        MultiMetrics().aggregate(cohort(np.eye(2)), None)


@pytest.mark.parametrize("options", [{"kept_share": 0.0}, {"kept_share": 1.1}, {"metrics": "three"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MultiMetrics(**options)
