"""Oracle: the definition, ||sent|| = S in the same direction."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.train_and_scale import TrainAndScale


def test_the_sent_update_has_the_norm_and_the_direction(scene):
    """By hand: (3, 4) at norm 10 is (6, 8); zero stays zero."""
    own, view = scene([[1.0, 1.0]], [[3.0, 4.0], [0.0, 0.0]])
    assert TrainAndScale(10.0).corrupt(own, view, None)[0].vectors.tolist() == [[6.0, 8.0], [0.0, 0.0]]


def test_norms_hold_in_float32(scene):
    rows = np.random.default_rng(0).normal(size=(3, 10_000))
    sent, _ = TrainAndScale(0.5).corrupt(*scene(rows, rows, dtype=torch.float32), None)
    np.testing.assert_allclose(sent.vectors.double().norm(dim=1), 0.5, rtol=1e-6)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_a_bound_that_bounds_nothing_is_refused(bound):
    with pytest.raises(ValueError, match="norm_bound must be finite and above 0, got"):
        TrainAndScale(bound)
