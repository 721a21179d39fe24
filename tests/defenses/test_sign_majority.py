"""Oracles: votes by hand; the whole rule in numpy."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.sign_majority import SignMajority

VOTES = [[3.0, 1.0, -2.0, 0.0], [1.0, -4.0, -6.0, 0.0], [-9.0, 0.0, 1.0, 2.0]]


def test_votes_by_hand(cohort):
    """Signs sum to (1, 0, -1, 1): the means of those that agree are 2, none, -4 and 2."""
    verdict, _ = SignMajority().aggregate(cohort(VOTES), None)
    assert verdict.aggregate.tolist() == [2.0, 0.0, -4.0, 2.0]
    assert verdict.scores == {5: 2 / 3, 15: 2 / 3, 25: 1 / 3}
    assert not verdict.flags


def test_a_constant_step_follows_the_same_votes(cohort):
    verdict, _ = SignMajority(magnitude="constant", step=0.5).aggregate(cohort(VOTES), None)
    assert verdict.aggregate.tolist() == [0.5, 0.0, -0.5, 0.5]


def test_it_is_the_rule_in_numpy(golden_cohort):
    rows = golden_cohort.vectors.numpy()
    elected = np.sign(np.sign(rows).sum(axis=0))
    agree = np.sign(rows) == elected
    expected = np.array([rows[agree[:, c], c].mean() for c in range(5)])
    np.testing.assert_allclose(SignMajority().aggregate(golden_cohort, None)[0].aggregate, expected)


def test_a_minority_turns_no_sign_that_all_others_agree_on(cohort):
    """However large: seven honest at 1 to 7, six liars at -1e30."""
    rows = torch.cat([torch.arange(1.0, 8)[:, None].expand(7, 3), torch.full((6, 3), -1e30)])
    assert SignMajority().aggregate(cohort(rows), None)[0].aggregate.tolist() == [4.0] * 3


def test_zeros_do_not_vote(cohort):
    verdict, _ = SignMajority().aggregate(cohort([[0.0, 0.0], [0.0, 3.0]]), None)
    assert verdict.aggregate.tolist() == [0.0, 3.0]
    assert verdict.scores == {5: 0.0, 15: 1.0}


@pytest.mark.parametrize("options", [{"magnitude": "mean"}, {"step": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SignMajority(**options)
