"""Adam on signs, and how its steps shrink. Oracle: torch.optim's Adam and schedules, to the bit."""

import math

import pytest
import torch

from gauntlet.attacks.leakage.search.adam import AdamSearch

STEPS = 24


def oracle(variables, rates, schedule):
    """Return torch's Adam on these variables, and its schedule."""
    adam = torch.optim.Adam([{"params": [v], "lr": rate} for v, rate in zip(variables, rates, strict=True)])
    if schedule == "cosine":
        falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda t: (1 + math.cos(math.pi * t / STEPS)) / 2)
    elif schedule == "steps":
        marks = [int(STEPS * share) for share in (3 / 8, 5 / 8, 7 / 8)]
        falling = torch.optim.lr_scheduler.MultiStepLR(adam, marks)
    else:
        falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda _: 1.0)
    return adam, falling


@pytest.mark.parametrize("schedule", ["cosine", "steps", None])
@pytest.mark.parametrize("signed", [True, False])
def test_steps_are_those_of_torch(schedule, signed):
    """Of inputs and shares beside them, which have a step size of their own and no signs."""
    torch.manual_seed(0)
    ours = [torch.randn(3, 5), torch.rand(3)]
    theirs = [v.clone().requires_grad_() for v in ours]
    how = AdamSearch(
        0.1, signed, schedule is not None, rates=(0.03,), **({"schedule": schedule} if schedule else {})
    )
    step, (adam, falling) = how.steps(ours, STEPS), oracle(theirs, (0.1, 0.03), schedule)

    for _ in range(STEPS):
        gradients = [torch.randn_like(v) for v in ours]
        step(gradients)
        for v, g, sign in zip(theirs, gradients, (signed, False), strict=True):
            v.grad = g.sign() if sign else g.clone()
        adam.step()
        falling.step()
        for mine, wanted in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, wanted.detach(), rtol=0, atol=0)


def test_a_gradient_that_is_no_number_moves_nothing():
    x = torch.tensor([1.0, 2.0])
    AdamSearch().steps([x], STEPS)([torch.tensor([float("nan"), 1.0])])

    assert x.tolist() == pytest.approx([1.0, 1.9])
