"""A known wrong weight of a public framework fails the very check that ours passes: servers.

As ``tests/clients/algorithms/test_known_defects.py``, on T1, a scalar (T3) and a script of events (T4).
"""

import numpy as np
import pytest
import torch
from core_rounds import rounds
from quadratics import training

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.server.optimizers.adabelief import AdaBelief
from gauntlet.server.optimizers.adagrad import Adagrad
from gauntlet.server.optimizers.adam import Adam
from gauntlet.server.optimizers.sgd import SGD
from gauntlet.server.optimizers.yogi import Yogi
from gauntlet.server.schedules.buffered import Buffered

TEN = training(10)


def near(found, expected, within=1e-9):
    return bool(np.all(np.abs(np.asarray(found, dtype=float) - np.asarray(expected)) <= within))


class OnModels(SGD):
    """Averages models by weights that sum to 1.8, as fluke's FedNova and SCAFFOLD do: x shrinks or grows."""

    def step(self, params, aggregate, state):
        return super().step(params, aggregate + 0.8 * (params + aggregate), state)


def stops_at_fedavgs_point(optimizer):
    """T1: sum p_i (1 - q_i) b_i / sum p_i (1 - q_i), also with the server's momentum."""
    return near(rounds(FedAvg(), TEN, 3, optimizer=optimizer, start=-0.3797565348)[0], -0.3797565348)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weights_that_sum_to_more_than_one_ruin_models_and_not_updates(momentum):
    assert stops_at_fedavgs_point(SGD(momentum=momentum))
    assert not stops_at_fedavgs_point(OnModels(momentum=momentum))


class LosesTheFirst(SGD):
    """Drops the first round, as fluke's FedAvgM."""

    def step(self, params, aggregate, state):
        return super().step(params, aggregate if state else 0 * aggregate, state)


class Rescaled(SGD):
    """Takes 1 - beta of each step, so that the steady gain is lr: the likeliest slip."""

    def step(self, params, aggregate, state):
        return super().step(params, (1 - self.momentum) * aggregate, state)


@pytest.mark.parametrize("wrong", [LosesTheFirst, Rescaled])
def test_fedavgm_counts_the_first_round_in_full(wrong):
    """T1, beta 0.9: rounds 1 to 3. The limit is the same for all three."""
    expected = [-0.2456813784, -0.5535337958, -0.7181767388]
    ours, theirs = (rounds(FedAvg(), TEN, 3, optimizer=kind(momentum=0.9))[0] for kind in (SGD, wrong))
    assert near(ours, expected)
    assert not near(theirs, expected, within=0.1)


class LrTwice:
    """Multiplies by the server's lr twice, as fluke's FedOpt."""

    def __init__(self, rule):
        self.rule, self.init = rule, rule.init

    def step(self, params, aggregate, state):
        there, state = self.rule.step(params, aggregate, state)
        return params + self.rule.lr * (there - params), state


class ByTorchsAdam(Adam):
    """Standard correction and an epsilon of 1e-8 in tau's place, as FederatedScope's."""

    def __init__(self):
        super().__init__(tau=1e-8, v0="zero", bias_correction="adam")


T3 = [
    (Adam(), 0.19802019, ByTorchsAdam()),
    (Adam(bias_correction="adam", v0="zero"), 0.19980040, Adam(bias_correction="flower", v0="zero")),
    (Adam(), 0.19802019, LrTwice(Adam())),
    (Adam(), 0.19802019, Adam(v0="zero")),  # Flower's and fluke's start
    (Yogi(), 0.19802000, LrTwice(Yogi())),
    (Yogi(), 0.19802000, Yogi(v0="zero")),  # fluke's start, whose comment says tau^2
    (Adagrad(tau=0.5, v0="zero"), 0.15, LrTwice(Adagrad(tau=0.5, v0="zero"))),
]


@pytest.mark.parametrize(("ours", "expected", "theirs"), T3)
def test_the_first_adaptive_step_tells_the_rules_apart(ours, expected, theirs):
    """T3: from 0.1, mean update 0.5, lr 0.1, tau 1e-3."""
    x, delta = (torch.tensor([v], dtype=torch.float64) for v in (0.1, 0.5))
    found = [float(rule.step(x, delta, rule.init())[0]) for rule in (ours, theirs)]
    assert near(found[0], expected, within=5e-9)
    assert not near(found[1], expected, within=5e-9)


class OfSquares(AdaBelief):
    """Divides by the squares of aggregates, not of surprises: Adam's second moment, the likeliest slip."""

    def step(self, params, aggregate, state):
        _, kept = super().step(params, aggregate, state)
        last = state or {"s": torch.zeros_like(params), "t": 0}
        s = self.beta2 * last["s"] + (1 - self.beta2) * aggregate.square() + self.eps
        root = (s / (1 - self.beta2 ** kept["t"])).sqrt() + self.eps
        return params + self.lr / (1 - self.beta1 ** kept["t"]) * kept["m"] / root, {**kept, "s": s}


def test_adabelief_divides_by_surprises_and_their_epsilon_accumulates():
    """Gradients 1 and -.5, lr .1, beta2 .999, eps 1e-6, by the authors' formula."""
    options, found = {"lr": 0.1, "beta2": 0.999, "eps": 1e-6}, []
    for rule in (AdaBelief(**options), AdaBelief(**options, accumulate_eps=False), OfSquares(**options)):
        x, state, trace = torch.zeros(1, dtype=torch.float64), rule.init(), []
        for gradient in (1.0, -0.5):
            x, state = rule.step(x, torch.tensor([-gradient], dtype=torch.float64), state)
            trace.append(float(x))
        found.append(near(trace, [-0.1110424641, -0.1393867807], within=2e-10))
    assert found == [True, False, False]


class NoStaleness(Buffered):
    """Weighs by the age at the server's last step, always 0: the likeliest slip."""

    def weights(self, staleness, num_examples):
        return super().weights(torch.zeros_like(staleness), num_examples)


class AddsUp(Buffered):
    """Adds updates up, as FLSim's weighted sum."""

    def gain(self, counted):
        return counted


@pytest.mark.parametrize("wrong", [NoStaleness, AddsUp])
def test_a_stale_message_counts_less_and_the_buffer_is_averaged(wrong):
    """T4: two steps of updates +1, the second with ages (1, 0): 1 + (1/sqrt 2 + 1) / 2 = 1.853553391."""
    found = []
    for kind in (Buffered, wrong):
        schedule, x = kind(buffer_size=2), 0.0
        for ages in ([0, 0], [1, 0]):
            weights = schedule.weights(torch.tensor(ages), torch.ones(2, dtype=torch.int64))
            x += schedule.gain(2.0) * float(weights.mean())
        found.append(near(x, 1.853553391))
    assert found == [True, False]
