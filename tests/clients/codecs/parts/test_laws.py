"""How badly updates fit levels and signs, by hand."""

import math

import pytest
import torch

from gauntlet.clients.codecs.parts.laws import LevelMismatch, SignMismatch
from gauntlet.core.layout import Layout

ONE = Layout(()).followed_by(a=torch.Size([2])).parameters
TWO = Layout(()).followed_by(a=torch.Size([2]), b=torch.Size([2])).parameters


def test_a_level_is_as_likely_as_the_value_is_near():
    """u = (1, 0.25) over the largest, in 2 steps: 2 and 0.5. Levels 2 and 1 have probabilities 1 and 1/2."""
    mismatch = LevelMismatch(ONE, torch.tensor([2.0, 1.0]), (torch.zeros(1),), None, 2, "max")

    assert float(mismatch(torch.tensor([1.0, 0.25]))) == pytest.approx(math.log(2) / 2)
    assert float(mismatch(torch.tensor([8.0, 2.0]))) == pytest.approx(math.log(2) / 2)
    assert float(mismatch(torch.tensor([1.0, 0.5]))) == pytest.approx(0, abs=1e-6)


def test_each_bucket_is_over_its_own_norm_and_their_proportions_count():
    """Buckets (3, 4) and (6, 8): norms 5 and 10, levels of 5 steps exact; the frame says equal norms.

    The variance of log 5 and log 10 is (log 2 / 2)^2.
    """
    slots = Layout(()).followed_by(a=torch.Size([4])).parameters
    levels = torch.tensor([3.0, 4.0, 3.0, 4.0])
    mismatch = LevelMismatch(slots, levels, (torch.zeros(2),), 2, 5, "l2")

    assert float(mismatch(torch.tensor([3.0, 4.0, 6.0, 8.0]))) == pytest.approx(
        0.1 * (math.log(2) / 2) ** 2, rel=1e-4
    )
    assert float(mismatch(torch.tensor([3.0, 4.0, 3.0, 4.0]))) == pytest.approx(0, abs=1e-6)


def test_what_no_rounding_gives_is_worse_the_farther_it_is():
    mismatch = LevelMismatch(ONE, torch.tensor([2.0, -2.0]), (torch.zeros(1),), None, 2, "max")

    near, far = mismatch(torch.tensor([1.0, 0.1])), mismatch(torch.tensor([1.0, 0.5]))
    assert math.log(1000) / 2 < float(near) < float(far)


def test_a_bucket_of_scale_0_says_nothing():
    mismatch = LevelMismatch(ONE, torch.tensor([1.0, 1.0]), (torch.tensor([-torch.inf]),), None, 1, "max")

    assert float(mismatch(torch.tensor([1.0, -1.0]))) == 0


def test_signs_are_judged_in_units_of_the_root_mean_square():
    """(3, 4) over its rms 5 / sqrt 2, times 4: softplus of minus 3.394 and of plus 4.525."""
    mismatch = SignMismatch(ONE, torch.tensor([1.0, -1.0]), None)
    unit = 4 * math.sqrt(2) / 5

    expected = (math.log1p(math.exp(-3 * unit)) + math.log1p(math.exp(4 * unit))) / 2
    assert float(mismatch(torch.tensor([3.0, 4.0]))) == pytest.approx(expected, rel=1e-5)
    assert float(mismatch(torch.tensor([30.0, 40.0]))) == pytest.approx(expected, rel=1e-5)


def test_the_proportions_of_the_tensors_mean_sizes_count():
    """Means 1 and 4 where the frame says 1 and 1: the variance of 0 and log 4 is (log 2)^2."""
    told = SignMismatch(TWO, torch.ones(4), torch.zeros(2))
    silent = SignMismatch(TWO, torch.ones(4), None)
    update = torch.tensor([1.0, 1.0, 4.0, 4.0])

    assert float(told(update) - silent(update)) == pytest.approx(0.1 * math.log(2) ** 2, rel=1e-4)
