"""A step by the factors of a gradient is the step by their product, whatever pulls and drifts besides."""

from dataclasses import dataclass, replace

import pytest
import torch

from gauntlet.clients.algorithms.ditto import Leaning
from gauntlet.clients.algorithms.feddyn import FedDyn
from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.training.step import LocalStep
from gauntlet.core.contracts import LocalTraining

HOW = LocalTraining(local_steps=4, lr=0.1)
SHAPES = (3, 4, 5)  # K clients, a layer of 4 x 5


@dataclass(frozen=True)
class Pulled(FedDyn):
    """FedDyn with a slope that may be far longer than its pull."""

    alpha: float = 1e-9


RULES = {
    "fedprox": (FedProx(0.7), HOW),
    "fednova": (FedNova(mu=0.7), HOW),
    "leaning": (Leaning(2.0), HOW),
    "feddyn": (FedDyn(0.3), HOW),
    "a pull next to nothing": (Pulled(), HOW),
    "a long step": (FedDyn(0.3), replace(HOW, lr=4.0)),
    "momentum": (FedDyn(0.3), replace(HOW, momentum=0.9)),
    "weight decay": (FedProx(0.7), replace(HOW, weight_decay=0.1)),
}


def drawn(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def walked(rule, how, factored, received, start):
    """Return where four steps lead, of which the last is the first two clients' alone."""
    home = start.clone()
    exchanging = isinstance(rule, FedDyn)
    told = ([{}], [{"slope": drawn(*SHAPES, seed=9)}]) if exchanging else ([], [])
    step = LocalStep(rule, how, [received], [home], (), *told, decay_apart=True)
    for t in range(how.local_steps):
        pair = drawn(3, 4, 2, seed=2 * t), drawn(3, 2, 5, seed=2 * t + 1)
        step.descend([pair if factored else torch.bmm(*pair)], 3 if t < how.local_steps - 1 else 2)
    return home


@pytest.mark.parametrize("name", RULES)
def test_factors_lead_where_their_product_does(name):
    """The product goes through the rule's own ``correct``, which the factors do not."""
    rule, how = RULES[name]
    received = drawn(4, 5, seed=100)
    start = received + drawn(*SHAPES, seed=101)
    ours, theirs = (walked(rule, how, factored, received, start) for factored in (True, False))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12 * max(1.0, how.lr**4))


def test_what_has_no_gradient_stays_to_the_last_bit():
    """Dead pixels: a pull written as two products would move them by a rounding error."""
    received = drawn(4, 5, seed=100).float()
    home = received.expand(3, 4, 5).clone()
    step = LocalStep(FedProx(0.7), HOW, [received], [home])
    for _ in range(3):
        step.descend([(torch.zeros(3, 4, 2), torch.ones(3, 2, 5))], 3)
    assert torch.equal(home, received.expand(3, 4, 5))
