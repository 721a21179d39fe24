"""Oracles: norms by hand."""

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.defenses.gradient_calibration import GradientCalibration

ROWS = [[3.0, 4.0, 0.0], [0.0, 0.0, 1.0], [6.0, 8.0, 0.0], [0.0, 0.0, 0.0]]


def rows_after(rule, updates):
    return rule.transform(updates, rule.init())[0].vectors


def test_all_become_as_long_as_the_median(cohort):
    """By hand: norms 5, 1, 10, 0 have the median 3."""
    out = rows_after(GradientCalibration(), cohort(ROWS))
    np.testing.assert_allclose(out, [[1.8, 2.4, 0], [0, 0, 3], [1.8, 2.4, 0], [0, 0, 0]], atol=1e-15)


def test_a_target_is_taken_as_it_is(cohort):
    out = rows_after(GradientCalibration(2.0), cohort(ROWS))
    np.testing.assert_allclose(out.norm(dim=1), [2, 2, 2, 0], atol=1e-15)


def test_updates_of_one_length_are_not_touched(cohort):
    updates = cohort([[3.0, 4.0], [5.0, 0.0]])
    assert rows_after(GradientCalibration(5.0), updates) is updates.vectors


def test_one_tensor_is_calibrated_alone(cohort, at):
    """By hand: in the last coordinate 0, 1, 3, the median norm is 1."""
    layout = Layout((Slot("body", (2,), 0), Slot("head", (1,), 2)))
    rows = [[3.0, 4.0, 0.0], [0.0, 2.0, 1.0], [6.0, 8.0, -3.0]]
    out = rows_after(GradientCalibration(scope="head"), at(cohort(rows), layout=layout))
    np.testing.assert_allclose(out, [[3, 4, 0], [0, 2, 1], [6, 8, -1]], atol=1e-15)
    assert torch.equal(cohort(rows).vectors, torch.tensor(rows, dtype=torch.float64))


def test_a_tensor_that_is_not_there_is_refused(cohort, at):
    with pytest.raises(ValueError, match="scope must be one of all, w, got 'head'"):
        rows_after(GradientCalibration(scope="head"), at(cohort(ROWS)))
    with pytest.raises(ValueError, match="target_norm must be above 0 and finite, or median, got 0"):
        GradientCalibration(0.0)


def test_the_longest_numbers_stay_numbers(cohort):
    """A row along one coordinate, brought to the norm of rows of the largest numbers, ends at the largest."""
    rows = torch.full((3, 4), torch.finfo(torch.float32).max)
    rows[2] = torch.tensor([1.0, 0, 0, 0])
    calibrated, _ = GradientCalibration().transform(cohort(rows), None)
    assert calibrated.vectors[2].tolist() == [torch.finfo(torch.float32).max, 0, 0, 0]
    assert rows[2].tolist() == [1, 0, 0, 0]
