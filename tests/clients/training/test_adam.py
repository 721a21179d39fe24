"""Adam in local steps beside torch.optim.Adam."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.training.adam import Adam
from gauntlet.core.contracts import LocalTraining


def test_steps_are_those_of_torchs_adam():
    """Oracle: torch.optim.Adam over 20 steps with gradients of all sizes."""
    stream = torch.Generator().manual_seed(0)
    theirs = nn.Parameter(torch.randn(50, generator=stream))
    ours, adam = theirs.detach().clone(), None
    optimizer = torch.optim.Adam([theirs], lr=0.03)
    for step in range(20):
        gradient = torch.randn(50, generator=stream) * 10.0 ** (step % 5 - 2)
        theirs.grad = gradient.clone()
        optimizer.step()
        adam = adam or Adam([ours])
        adam.begin_step()
        ours -= 0.03 * adam.direction(0, gradient)

    assert torch.allclose(ours, theirs, atol=1e-6)


def test_stacked_clients_that_are_done_leave_the_others_alone():
    stacked, alone = Adam([torch.zeros(2, 3)]), Adam([torch.zeros(1, 3)])
    first, second = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 6.0]]), torch.tensor([[2.0, 2.0, 2.0]])
    for adam, gradient in ((stacked, first), (alone, first[:1])):
        adam.begin_step()
        adam.direction(0, gradient)
        adam.begin_step()

    assert torch.equal(stacked.direction(0, second), alone.direction(0, second))


def test_the_first_step_is_as_long_as_the_learning_rate():
    """Kingma and Ba, Section 2.1: whatever the gradient's size, m / sqrt(v) is its sign."""
    adam = Adam([torch.zeros(3)])
    adam.begin_step()

    assert adam.direction(0, torch.tensor([1e-3, -7.0, 1e4])).tolist() == pytest.approx([1, -1, 1], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamw"}, "optimizer must be one of sgd, adam; got 'adamw'"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum must be 0 with adam"),
    ],
)
def test_options_that_do_not_exist_or_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LocalTraining(**options)


def test_without_shuffling_every_pass_takes_the_examples_in_their_own_order():
    from gauntlet.clients.training.minibatches import minibatches

    training = LocalTraining(local_epochs=2, batch_size=2, shuffle=False)

    assert [rows.tolist() for rows in minibatches(3, training, np.random.default_rng(0))] == [[0, 1], [2]] * 2
