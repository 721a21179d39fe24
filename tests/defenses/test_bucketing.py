"""Oracles: the golden matrix of the robustness spec, section 7; byzfl's arithmetic on our permutation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout
from gauntlet.core.updates import Context
from gauntlet.defenses.bucketing import Bucketing, bucket_means
from gauntlet.defenses.mean import Mean


def test_the_golden_buckets_are_found(golden_cohort):
    """Spec 7, row ``bucketing s=2, identity permutation``: six buckets, the last holds X[10] alone."""
    buckets = bucket_means(golden_cohort, torch.arange(11), 2)
    first = [-0.495208201, 0.179444570, 0.533038695, -0.691399179, -0.537572842]
    np.testing.assert_allclose(buckets.vectors[0], first, atol=1e-9)
    torch.testing.assert_close(buckets.vectors[5], golden_cohort.vectors[10])
    assert len(buckets) == 6


def test_a_bucket_bears_its_first_client_its_examples_and_the_mean_of_its_buffers(cohort):
    """By hand: the order 3, 1 | 0, 2 | 4."""
    updates = cohort([[0.0], [1.0], [2.0], [3.0], [4.0]], [1, 2, 4, 8, 16])
    updates = replace(updates, buffers=torch.tensor([[0.0], [10.0], [20.0], [30.0], [40.0]]))
    buckets = bucket_means(updates, torch.tensor([3, 1, 0, 2, 4]), 2)
    assert buckets.client_ids.tolist() == [5, 15, 45]
    assert buckets.vectors.flatten().tolist() == [1, 2, 4]
    assert buckets.num_examples.tolist() == [5, 10, 16]
    assert buckets.buffers.flatten().tolist() == [10, 20, 40]


def test_equal_buckets_keep_the_mean(golden_cohort):
    updates = golden_cohort.rows(torch.arange(10))
    buckets, _ = Bucketing(5).transform(updates, 0)
    before, after = (Mean("uniform").aggregate(u, None)[0].aggregate for u in (updates, buckets))
    torch.testing.assert_close(before, after)


def test_buckets_of_one_change_nothing(golden_cohort):
    buckets, _ = Bucketing(1).transform(golden_cohort, 0)
    assert torch.equal(buckets.vectors, golden_cohort.vectors)
    assert torch.equal(buckets.client_ids, golden_cohort.client_ids)


def test_every_pair_of_clients_meets_equally_often(cohort):
    """Four clients, pairs: each of the three pairings has probability 1/3 (400 rounds: error 2.4 %)."""
    updates, state, partners = cohort([[1.0], [2.0], [4.0], [8.0]]), 0, []
    for _ in range(400):
        buckets, state = Bucketing(2).transform(updates, state)
        partners.append(float(buckets.vectors[0, 0]) * 2 - 1)
    assert [partners.count(p) / 400 for p in (2, 4, 8)] == pytest.approx([1 / 3] * 3, abs=0.08)


def test_in_a_run_the_order_follows_the_seed_and_the_round(golden_cohort):
    def shuffled(round_, seed, state):
        context = Context(round_, torch.zeros(5), Layout((), ()), seed)
        return Bucketing(2).transform(replace(golden_cohort, context=context), state)[0].vectors

    assert torch.equal(shuffled(3, 1, 0), shuffled(3, 1, 9))
    assert not torch.equal(shuffled(3, 1, 0), shuffled(4, 1, 0))
    assert not torch.equal(shuffled(3, 1, 0), shuffled(3, 2, 0))


def test_an_empty_bucket_is_refused():
    with pytest.raises(ValueError, match="bucket_size must be at least 1, got 0"):
        Bucketing(0)


def test_byzfl_agrees_on_the_same_permutation(cohort, byzfl_aggregators, monkeypatch):
    """byzfl shuffles with numpy's global state: here it is handed our order."""
    for seed in range(10):
        rows = np.random.default_rng(seed).normal(size=(7 + seed, 13))
        order = np.random.default_rng(100 + seed).permutation(len(rows))
        monkeypatch.setattr(np.random, "permutation", lambda x, order=order: x[order])
        expected = byzfl_aggregators.Bucketing(s=3)(rows)
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
            updates = cohort(torch.from_numpy(rows).to(dtype))
            found = bucket_means(updates, torch.from_numpy(order), 3).vectors.numpy()
            by_value = [np.lexsort(m.T) for m in (found, expected)]
            np.testing.assert_allclose(found[by_value[0]], expected[by_value[1]], atol=tolerance)
