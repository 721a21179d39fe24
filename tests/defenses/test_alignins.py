"""Oracles: both alignments and their scores in plain Python; a case by hand."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.alignins import AlignIns, from_median, sign_alignment


def by_loops(rows, share):
    """Oracle: the share of each row's largest entries with the sign of the sum of signs."""
    size, major = (
        len(rows[0]),
        [int(np.sign(sum(np.sign(row[c]) for row in rows))) for c in range(len(rows[0]))],
    )
    found = []
    for row in rows:
        largest = sorted(range(size), key=lambda c: -abs(row[c]))[: int(share * size)]
        found.append(sum(int(np.sign(row[c])) == major[c] for c in largest) / len(largest))
    return found


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_the_sign_alignment_is_that_of_plain_loops(share):
    rows = np.random.default_rng(2).normal(size=(7, 40))
    np.testing.assert_allclose(sign_alignment(torch.from_numpy(rows), share), by_loops(rows, share))


def test_alignments_by_hand():
    """Signs sum to (3, 1, -1, 0): the major ones are + + - 0. Of the two largest entries agree 2, 1, 0 ..."""
    rows = torch.tensor([[3.0, 2, -1, 1], [3, -2, 1, -1], [-0.1, 4, 3, 0], [1, -2, -9, 0], [1, 2, -0.5, 0]])
    # columns: + + - + + = 3; + - + - + = 1; - + + - - = -1; + - 0 0 0 = 0
    assert sign_alignment(rows, 0.5).tolist() == [1.0, 0.5, 0.5, 0.5, 1.0]


def test_scores_by_hand():
    """Of 1, 2, 3, 4, 10 the median is 3, the population's standard deviation sqrt(10)."""
    found = from_median(torch.tensor([1.0, 2, 3, 4, 10], dtype=torch.float64))
    np.testing.assert_allclose(found, np.array([2, 1, 0, 1, 7]) / np.sqrt(10))
    assert from_median(torch.full((4,), 0.1)).tolist() == [0.0] * 4


def test_who_is_kept_is_clipped_to_the_median_norm_of_those(golden_cohort, at):
    """Oracle: the whole rule in numpy, at parameters of its own."""
    params = torch.from_numpy(np.random.default_rng(1).normal(size=5))
    verdict, _ = AlignIns(largest_share=0.6).aggregate(at(golden_cohort, params=params), None)

    rows, w = golden_cohort.vectors.numpy(), params.numpy()
    cosine = rows @ w / np.linalg.norm(rows, axis=1) / np.linalg.norm(w)
    signs = np.array(by_loops(rows, 0.6))
    scores = np.maximum(*(np.abs(v - np.median(v)) / v.std() for v in (cosine, signs)))
    kept = rows[scores < 1]
    lengths = np.linalg.norm(kept, axis=1)
    expected = (kept * np.minimum(1, np.median(lengths) / lengths)[:, None]).mean(axis=0)
    np.testing.assert_allclose(list(verdict.scores.values()), scores)
    np.testing.assert_allclose(verdict.aggregate, expected, atol=1e-12)
    assert 0 < len(verdict.flags) < 11


def test_tolerances_are_each_signal_s_own(golden_cohort, at):
    params = torch.from_numpy(np.random.default_rng(1).normal(size=5))
    flags = [
        set(AlignIns(**options).aggregate(at(golden_cohort, params=params), None)[0].flags)
        for options in ({}, {"temporal_tolerance": 99.0}, {"sign_tolerance": 99.0})
    ]
    assert flags[0] == flags[1] | flags[2]
    assert flags[1] != flags[2]


def test_the_four_liars_are_left_out(four_liars, at):
    """Flipped, they point the other way and have the signs of the few."""
    updates = at(four_liars, params=four_liars.vectors[0].clone())
    assert {16, 17, 18, 19} <= set(AlignIns().aggregate(updates, None)[0].flags)


def test_where_nobody_is_kept_the_aggregate_is_zero(cohort, at):
    """One half at cosine 1, one at -1: the median between them is one standard deviation from all."""
    updates = at(cohort([[1.0, 0]] * 2 + [[-1.0, 0]] * 2), params=torch.tensor([1.0, 0], dtype=torch.float64))
    verdict, _ = AlignIns().aggregate(updates, None)
    assert set(verdict.flags) == {5, 15, 25, 35}
    assert verdict.aggregate.tolist() == [0.0, 0.0]


def test_it_says_what_it_lacks(cohort):
    with pytest.raises(ValueError, match="alignins needs the global parameters"):
        AlignIns().aggregate(cohort(np.eye(2)), None)


@pytest.mark.parametrize(
    "options",
    [{"largest_share": 0.0}, {"largest_share": 1.1}, {"temporal_tolerance": 0}, {"sign_tolerance": -1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AlignIns(**options)


def test_of_two_clients_neither_is_kept(cohort, at):
    """Each is one standard deviation from the median between them."""
    updates = at(cohort([[1.0, 0], [0.5, 0.5]]), params=torch.tensor([1.0, 0], dtype=torch.float64))
    assert set(AlignIns().aggregate(updates, None)[0].flags) == {5, 15}
