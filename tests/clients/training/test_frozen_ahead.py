"""Frozen models that are asked for several steps together say what each says of each step's batch alone."""

import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.moon import Moon
from gauntlet.clients.tracing.losses import CROSS_ENTROPY
from gauntlet.clients.tracing.stack_step import StackedStep
from gauntlet.clients.training.added_loss import AddedLoss
from gauntlet.clients.training.frozen_ahead import FrozenAhead
from gauntlet.clients.training.shelf import Shelf

K = 3


class Counting(StackedStep):
    """Notes how many examples of a client it is asked about at once."""

    asked = ()

    def ahead(self, frozen, x):
        self.asked = (*self.asked, (len(x), x.shape[1]))
        return super().ahead(frozen, x)


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "asked"),
    [(10, [(3, 60), (3, 60), (2, 60), (1, 20)]), (70, [(3, 70)] * 9 + [(2, 70)] * 9 + [(1, 70)] * 2)],
    ids=["several", "more than fit"],
)
def test_each_step_is_told_what_its_own_batch_gives(size, asked):
    """Dropout is off in frozen models; clients drop out after 20, 18 and 9 steps."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2))
    named = dict(model.named_parameters())
    step = Counting(
        model, list(named), CROSS_ENTROPY, added=AddedLoss(Moon().added_loss, ("received", "previous"), "3")
    )
    begun = [p.detach() for p in named.values()]
    own = [{"previous": drawn(K, *p.shape, seed=i)} for i, p in enumerate(begun)]
    shelf = Shelf(drawn(200, 4, seed=9), torch.zeros(200, dtype=torch.int64))
    rows = torch.randint(200, (20, K, size), generator=torch.Generator().manual_seed(3))
    heights = [3] * 9 + [2] * 9 + [1] * 2
    ahead = FrozenAhead(step, begun, own, shelf, rows)

    for s, height in enumerate(heights):
        found = ahead.of(s, height)
        assert [part.shape for part in found] == [(height, size, n) for n in (2, 5, 2, 5)]
        for k in range(height):
            for at, params in enumerate((begun, [groups["previous"][k] for groups in own])):
                held, x = dict(zip(named, params, strict=True)), shelf.x[rows[s, k]]
                features = (x @ held["0.weight"].T + held["0.bias"]).tanh()
                expected = features @ held["3.weight"].T + held["3.bias"]
                assert torch.allclose(found[2 * at][k], expected, atol=1e-5)
                assert torch.allclose(found[2 * at + 1][k], features, atol=1e-5)
    assert list(step.asked) == asked


def test_pictures_are_convolved_a_step_at_a_time():
    """60 of each of 32 clients at once took 1.9 times as long as six times 10."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 2))
    named = dict(model.named_parameters())
    step = Counting(model, list(named), CROSS_ENTROPY, added=AddedLoss(Moon().added_loss, ("received",), "3"))
    shelf = Shelf(drawn(20, 1, 4, 4, seed=9), torch.zeros(20, dtype=torch.int64))
    ahead = FrozenAhead(step, [p.detach() for p in named.values()], [], shelf, torch.arange(20).view(4, 1, 5))
    for s in range(4):
        ahead.of(s, 1)
    assert step.asked == ((1, 5),) * 4
