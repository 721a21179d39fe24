"""Oracles: autograd on the loss as it is written; the boost by hand."""

import pytest
import torch

from gauntlet.attacks.poisoning.constrain_and_scale import ConstrainAndScale


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
def test_the_step_descends_the_constrained_loss(alpha):
    """Autograd of alpha * sum(w^3) + (1 - alpha) * ||w - w_t||^2 at stacked w."""
    w, received = torch.linspace(-1, 2, 12, requires_grad=True), torch.linspace(0.5, -0.5, 12)
    (alpha * (w**3).sum() + (1 - alpha) * (w - received).square().sum()).backward()
    steered = ConstrainAndScale(alpha).steer(3 * w.detach() ** 2, w.detach(), received)
    torch.testing.assert_close(steered, w.grad)


def test_the_update_is_boosted_like_a_replacement(scene):
    """By hand: K = 4, two attackers: gamma = 2."""
    own, view = scene([[0.0], [0.0]], [[1.0], [3.0]])
    assert ConstrainAndScale().corrupt(own, view, None)[0].vectors.tolist() == [[2.0], [6.0]]
    assert ConstrainAndScale(scale=1.0).corrupt(own, view, None)[0].vectors.tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize("alpha", [0.0, 1.5, float("nan")])
def test_a_weight_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1, got"):
        ConstrainAndScale(alpha)
