"""Oracles: the golden matrix of the robustness spec, section 7; hand cases."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.clipping import Clipping
from gauntlet.defenses.mean import Mean


def test_the_golden_clipping_is_found(golden_cohort):
    """Spec 7, rows ``Clipping c=1, row 0`` and ``norm_clip c=1 then mean``."""
    clipped, _ = Clipping(1.0).transform(golden_cohort, None)
    row = [0.001140067, 0.276867808, -0.254062195, -0.825372028, -0.421374340]
    np.testing.assert_allclose(clipped.vectors[0], row, atol=1e-9)
    mean = [-0.182649866, -0.144556980, -0.064013655, -0.283030781, 0.053614378]
    np.testing.assert_allclose(Mean("uniform").aggregate(clipped, None)[0].aggregate, mean, atol=1e-9)


def test_the_golden_median_of_norms_is_the_bound(golden_cohort):
    """Spec 7, row ``norm_clip c=median (1.846730464), mean``."""
    clipped, _ = Clipping("median").transform(golden_cohort, None)
    assert float(clipped.vectors.norm(dim=1).max()) == pytest.approx(1.846730464, abs=1e-9)
    mean = [-0.352078450, -0.285315611, -0.138022799, -0.399659150, 0.136603025]
    np.testing.assert_allclose(Mean("uniform").aggregate(clipped, None)[0].aggregate, mean, atol=1e-9)


def test_short_updates_stay_and_zero_stays_zero(cohort):
    """By hand: [3, 4] has norm 5 and becomes [1.2, 1.6] under a bound of 2."""
    clipped, _ = Clipping(2.0).transform(cohort([[3.0, 4.0], [0.0, 0.0], [1.0, -1.0]]), None)
    np.testing.assert_allclose(clipped.vectors, [[1.2, 1.6], [0, 0], [1, -1]], rtol=1e-15)


def test_an_even_cohort_takes_the_mean_of_the_two_middle_norms(cohort):
    """By hand: norms 1, 2, 4, 9 have the median 3."""
    clipped, _ = Clipping("median").transform(cohort([[1.0], [-9.0], [4.0], [2.0]]), None)
    np.testing.assert_allclose(clipped.vectors, [[1], [-3], [3], [2]], rtol=1e-15)


def test_a_cohort_that_sends_only_zeros_stays_as_it_is(cohort):
    """The median of the norms is 0: nothing to divide by."""
    clipped, _ = Clipping("median").transform(cohort([[0.0, 0.0], [0.0, 0.0]]), None)
    assert clipped.vectors.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_huge_float32_updates_are_clipped_too(cohort):
    """The square of 1e30 is no float32."""
    clipped, _ = Clipping(1.0).transform(cohort(torch.tensor([[1e30, 0.0], [0.0, -2.0]])), None)
    assert clipped.vectors.dtype == torch.float32
    np.testing.assert_allclose(clipped.vectors, [[1, 0], [0, -1]], rtol=1e-6)


@pytest.mark.parametrize("bound", [1e-3, 1e-6])
def test_the_longest_floats_are_clipped_to_the_bound_and_not_to_nothing(cohort, bound):
    """By hand: 100 coordinates of 3.4e38 become bound / 10; the factor has no full float32."""
    clipped, _ = Clipping(bound).transform(cohort(torch.full((1, 100), 3.4e38)), None)
    np.testing.assert_allclose(clipped.vectors, np.full((1, 100), bound / 10), rtol=1e-6)


def test_long_rows_come_to_the_bound_within_a_millionth(cohort):
    """Oracle: NumPy's norms in float64, of rows whose squares float32 holds, or not."""
    rows = np.random.default_rng(0).standard_normal((5, 5000)).astype(np.float32)
    rows *= np.array([1, 1e30, 1e-10, 1e-30, 1e15], dtype=np.float32)[:, None]
    clipped, _ = Clipping(2.0).transform(cohort(torch.from_numpy(rows)), None)
    norms = np.linalg.norm(clipped.vectors.double().numpy(), axis=1)
    np.testing.assert_allclose(norms[[0, 1, 4]], 2.0, rtol=1e-6)
    assert np.array_equal(clipped.vectors[[2, 3]], rows[[2, 3]])


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), "mean"])
def test_a_bound_that_is_none_is_refused(bound):
    with pytest.raises(ValueError, match="clip_norm must be above 0 and finite, or median, got"):
        Clipping(bound)
