"""Pooling by slices against torch's, to the last bit."""

import pytest
import torch
from torch import nn

from gauntlet.clients.pooling import pool, unpool


@pytest.mark.parametrize(
    ("shape", "window"), [((3, 2, 8, 8), (2, 2)), ((2, 3, 7, 11), (2, 3)), ((1, 1, 9, 9), (3, 3))]
)
@pytest.mark.parametrize("ties", [False, True])
def test_values_and_gradients_are_torchs(shape, window, ties):
    """With ties, a few small whole numbers: of equal values the first one gets the gradient."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=stream)
    x = (x.round() if ties else x).requires_grad_()
    expected = nn.functional.max_pool2d(x, window)
    back = torch.randn(expected.shape, generator=stream)
    (gradient,) = torch.autograd.grad(expected, x, back)
    best, wins = pool(x.detach(), window)

    assert torch.equal(best, expected.detach())
    assert torch.equal(unpool(back, wins, x.detach(), window), gradient)
    assert torch.equal(sum(wins), torch.ones_like(best))
