"""Oracles: means by hand, and the expected length of the noise."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.sybil import Sybil


def test_all_identities_send_their_mean(scene):
    own, view = scene([[9.0, 9.0]], [[1.0, 2.0], [3.0, 6.0]])
    sent, _ = Sybil().corrupt(own, view, None)
    assert sent.vectors.tolist() == [[2.0, 4.0], [2.0, 4.0]]


@pytest.mark.parametrize("cancels", [True, False])
def test_noise_is_as_long_as_it_says_and_goes_away_in_the_sum_where_it_cancels(scene, cancels):
    """Relative length 0.5 in expectation, within 3 % at 4000 coordinates; four identities."""
    rows = np.random.default_rng(0).normal(size=(4, 4000))
    own, view = scene(rows, rows)
    sent, _ = Sybil(noise=0.5, cancels=cancels).corrupt(own, view, None)
    mean = own.vectors.mean(dim=0)
    lengths = (sent.vectors - mean).norm(dim=1) / mean.norm()
    assert lengths.tolist() == pytest.approx([0.5] * 4, rel=0.03)
    left = float((sent.vectors.mean(dim=0) - mean).norm() / mean.norm())
    assert left == pytest.approx(0.0 if cancels else 0.25, abs=0.01)


def test_a_single_identity_has_no_noise_that_could_cancel(scene):
    own, view = scene([[9.0, 9.0]], [[1.0, 2.0]])
    assert torch.equal(Sybil(noise=3.0).corrupt(own, view, None)[0].vectors, own.vectors)


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_noise_out_of_range_is_refused(noise):
    with pytest.raises(ValueError, match="noise must be finite and at least 0, got"):
        Sybil(noise)
