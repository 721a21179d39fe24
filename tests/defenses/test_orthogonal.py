"""Oracles: projections by hand."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.orthogonal import Orthogonal


def test_what_points_against_the_last_aggregate_is_taken_out(cohort):
    """By hand: behind (2, 0), (1, 0) stays and (-1, 1) becomes (0, 1)."""
    rule = Orthogonal()
    first, state = rule.aggregate(cohort([[2.0, 0.0], [2.0, 0.0]]), rule.init())
    assert first.aggregate.tolist() == [2, 0]
    verdict, after = rule.aggregate(cohort([[1.0, 0.0], [-1.0, 1.0]]), state)
    np.testing.assert_allclose(verdict.aggregate, [0.5, 0.5], atol=1e-15)
    np.testing.assert_allclose(after, [0.5, 0.5], atol=1e-15)
    assert verdict.scores == {5: 0.5, 15: -0.5}


def test_an_aggregate_of_0_is_no_reference(cohort):
    rule = Orthogonal()
    _, state = rule.aggregate(cohort([[1.0], [-1.0]]), rule.init())
    assert state is None
    _, state = rule.aggregate(cohort([[3.0], [1.0]]), state)
    verdict, state = rule.aggregate(cohort([[-3.0], [-1.0]]), state)
    assert verdict.aggregate.tolist() == [0]
    assert state.tolist() == [2]  # the last that was not 0


def test_the_server_s_own_update_may_be_the_reference(cohort, at):
    """By hand: beside (0, 1), with 30 and 10 examples: (3 (1, 0) + (0, 2)) / 4."""
    rule = Orthogonal(reference="root", weighting="num_examples")
    updates = at(cohort([[1.0, -1.0], [0.0, 2.0]], [30, 10]), root=torch.tensor([0.0, 5.0]))
    verdict, state = rule.aggregate(updates, rule.init())
    np.testing.assert_allclose(verdict.aggregate, [0.75, 0.5], atol=1e-15)
    assert state is None
    assert rule.needs_root


def test_what_cannot_be_is_refused(cohort, at):
    with pytest.raises(ValueError, match="reference must be previous or root, got 'mean'"):
        Orthogonal(reference="mean")
    with pytest.raises(ValueError, match="root_examples must be above 0"):
        Orthogonal(reference="root").aggregate(at(cohort([[1.0]])), None)
