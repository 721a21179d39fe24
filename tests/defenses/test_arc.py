"""Oracles: the golden matrix of the robustness spec, section 7; a hand case."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.arc import ARC


def test_the_golden_norms_are_found(golden_cohort):
    """Spec 7, row ``ARC f=2``: three rows are clipped at 2.303646416."""
    clipped, _ = ARC(2).transform(golden_cohort, None)
    golden = [1.079018684, 1.846730464, 1.115819065, 2.303646416, 2.269764664]
    norms = clipped.vectors.norm(dim=1)
    np.testing.assert_allclose(norms[:5], golden, atol=1e-9)
    assert int((norms < golden_cohort.vectors.norm(dim=1) - 1e-9).sum()) == 3


def test_the_longest_become_as_long_as_the_next(cohort):
    """By hand: K = 4, f = 1: floor(2 * 1 * 3 / 4) = 1 row is clipped, to the norm 3."""
    clipped, _ = ARC(1).transform(cohort([[1.0], [-9.0], [3.0], [2.0]]), None)
    np.testing.assert_allclose(clipped.vectors, [[1], [-3], [3], [2]], rtol=1e-15)


def test_a_row_of_the_longest_floats_becomes_as_long_as_a_short_one(cohort):
    """By hand: K = 4, f = 1 clips one row, to the norm 1e-6; its factor is below the least float32."""
    rows = torch.tensor([[1e-7, 0], [0, 1e-6], [-1e-7, 0], [3.4e38, 0]])
    clipped, _ = ARC(1).transform(cohort(rows), None)
    np.testing.assert_allclose(clipped.vectors[3], [1e-6, 0], rtol=1e-6)
    assert torch.equal(clipped.vectors[:3], rows[:3])


def test_long_rows_of_very_large_and_very_small_numbers_are_told_apart(cohort):
    """By hand: K = 6, f = 1 clips one row, the one of 1e30; 1000 coordinates of 1e-30 are not of norm 0."""
    rows = torch.linspace(1e-30, 5e-30, 5)[:, None].repeat(1, 1000)
    rows = torch.cat([rows, torch.full((1, 1000), 1e30)])
    clipped, _ = ARC(1).transform(cohort(rows), None)
    np.testing.assert_allclose(clipped.vectors[5], np.full(1000, 5e-30), rtol=1e-6)
    assert torch.equal(clipped.vectors[:5], rows[:5])


def test_nothing_is_clipped_without_malicious_clients(golden_cohort):
    assert torch.equal(ARC(0).transform(golden_cohort, None)[0].vectors, golden_cohort.vectors)


def test_a_cohort_of_none_but_malicious_clients_is_refused(cohort):
    with pytest.raises(ValueError, match="clipping against 2 clients needs a cohort above 2, got 2"):
        ARC(2).transform(cohort(np.eye(2)), None)
    with pytest.raises(ValueError, match="num_byzantine must be at least 0, got -1"):
        ARC(-1)
