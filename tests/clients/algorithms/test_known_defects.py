"""A known wrong sign or weight of a public framework fails the very check that ours passes: clients.

Each variant is the defect written out here, on the same toys: two quadratic clients (T1), or 100 of whom 10
take part (T2). Which framework ships which is what the algorithms' specification says, from reading their
code; none was executed. Where none is known, the variant is the likeliest slip, and its docstring says so.
The servers' half is ``tests/server/optimizers/test_known_server_defects.py``.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from core_rounds import rounds
from quadratics import OPTIMUM, T1, t2, training

from gauntlet.clients.algorithms.ditto import Ditto, Leaning
from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.feddyn import FedDyn
from gauntlet.clients.algorithms.fedexp import FedExP
from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.algorithms.moon import Moon
from gauntlet.clients.algorithms.scaffold import Scaffold
from gauntlet.core.contracts import Activations

TEN = training(10)


def near(found, expected, within=1e-9):
    return bool(np.all(np.abs(np.asarray(found, dtype=float) - np.asarray(expected)) <= within))


class NotSquared(FedProx):
    """Pulls by mu (y - x) / |y - x|: the gradient of the norm, which Flower core's docstring adds."""

    def correct(self, gradient, params, received):
        away = params - received
        return gradient + self.mu * away / away.norm(dim=-1, keepdim=True).clamp(min=1e-12)


class Twice(FedProx):
    """Pulls by 2 mu (y - x): the half of mu/2 |y - x|^2 forgotten, the likeliest slip."""

    def correct(self, gradient, params, received):
        return gradient + 2 * self.mu * (params - received)


@pytest.mark.parametrize("wrong", [NotSquared, Twice])
def test_fedproxs_norm_is_squared_and_halved(wrong):
    """T1, mu 1: the limit is -.3972648975."""
    ours, theirs = (rounds(kind(1.0), TEN, 30)[0][-1] for kind in (FedProx, wrong))
    assert near(ours, -0.3972648975)
    assert not near(theirs, -0.3972648975, within=1e-3)


class Reversed(Scaffold):
    """Stores c_i - c + (y - x) / (K lr), or minus the gradient at x: the sign that pfl-research ships."""

    def finish(self, update, received, shared, own, work):
        if work.gradient is not None:
            change = -work.gradient - own["control"]
        else:
            change = update / (work.steps * work.training.lr) - shared["control"]
        return {"update": update, "control": change}, {"control": own["control"] + change}


class FromWeights(Scaffold):
    """Controls start at the model's parameters, as in Flower's niid_bench: c is no longer the mean of c_i."""

    def start(self, params):
        return {"control": params}

    def extra(self, params, state):
        return params[None] if state["control"] is None else state["control"][None]


@pytest.mark.parametrize("option", ["I", "II"])
def test_the_sign_of_scaffolds_controls_finds_the_optimum(option):
    ours, theirs = (rounds(kind(option), TEN, 60)[0][-1] for kind in (Scaffold, Reversed))
    assert near(ours, OPTIMUM, within=1e-12)
    assert not near(theirs, OPTIMUM, within=0.3)  # 0.555 away with option I, beyond all bounds with II


def test_scaffolds_controls_start_alike_for_clients_that_come_later():
    """T2: from other starts the run stops away from the optimum, unless everybody takes part."""
    a, b, cohorts = t2()
    optimum = (a * b).sum() / a.sum()
    for kind, right in ((Scaffold, True), (FromWeights, False)):
        trace = rounds(kind(), TEN, 120, (a, b), cohorts=cohorts, start=3.0)[0]
        assert near(trace[-1], optimum, within=1e-3) == right
        assert near(rounds(kind(), TEN, 60)[0][-1], OPTIMUM, within=1e-6)


def test_scaffolds_clients_weigh_alike():
    """Flower's niid_bench weighs by examples: c is then no longer the mean of the c_i."""
    for weights, right in (([0.5, 0.5], True), ([0.2, 0.8], False)):
        _, state, memory = rounds(Scaffold(), TEN, 6, weights=weights)
        kept = sum(map(float, memory.values())) / 2
        assert near(state["control"], kept, within=1e-13) == right
    assert Scaffold.weighs_alike  # a mean by examples is refused


class CountsStepsAlone(Scaffold):
    """Divides by K lr also where steps have momentum: the likeliest slip, with no case known."""

    def finish(self, update, received, shared, own, work):
        plain = replace(work, training=replace(work.training, momentum=0.0))
        return super().finish(update, received, shared, own, plain)


def test_scaffolds_controls_are_gradients_also_where_steps_have_momentum():
    """T1, momentum .9: an update of ten steps holds 41.4 gradients, and not ten."""
    how = replace(TEN, momentum=0.9, lr=0.01)
    ours, theirs = (rounds(kind(), how, 100)[0][-1] for kind in (Scaffold, CountsStepsAlone))
    assert near(ours, OPTIMUM, within=1e-9)
    assert not near(theirs, OPTIMUM, within=1e3)


class WeighsModels(FedNova):
    """Multiplies models, not updates, by p_i tau_eff / a_i, as fluke's."""

    def step(self, params, aggregate, state, share, facts):
        there, state = super().step(params, aggregate, state, share, facts)
        counted = self._counted(self._steps(facts), facts.training)
        weights = facts.weights * (facts.weights * counted).sum() / counted
        return there + (float(weights.sum()) - 1) * params, state


def test_fednovas_weights_belong_to_updates():
    """T1 with (2, 20) steps, lr .002: the limit is -.5757158547, and models so weighed leave for infinity."""
    how, uneven = training(20, lr=0.002), {"steps": (2, 20)}
    for rule, rest in ((FedNova(partial=1.0), -0.5757158547), (FedAvg(), -0.9475591697)):
        assert near(rounds(rule, how, 2, start=rest, **uneven)[0], rest)
    theirs = rounds(WeighsModels(partial=1.0), how, 60, **uneven)[0]
    assert abs(theirs[-1]) > 1e6


class NoMomentum(FedNova):
    """Counts steps alone, whatever the clients' momentum, as FedLab's."""

    def _counted(self, steps, training):
        return super()._counted(steps, replace(training, momentum=0.0))


class Uniform(FedNova):
    """Takes p_i for 1 / S, whatever the clients' examples, as FedLab's."""

    def factors(self, facts):
        return super().factors(facts) * facts.weights.mean() / facts.weights


class AfterEachOther(FedNova):
    """Runs in each step momentum's recurrence, and on its sum that of the pull: the authors' code."""

    def _counted(self, steps, training):
        pull, found = training.lr * self.mu, []
        for taken in steps.tolist():
            counted = velocity = 0.0
            for _ in range(int(taken)):
                velocity = training.momentum * velocity + 1
                counted = (counted + velocity) * (1 - pull) + 1
            found.append(counted)
        return torch.tensor(found, dtype=torch.float64)


def test_the_authors_two_recurrences_are_those_of_the_specification():
    how = replace(training(10, lr=0.05), momentum=0.9)
    assert float(AfterEachOther(mu=1.0)._counted(torch.tensor([10.0]), how)) == pytest.approx(41.5052394)


@pytest.mark.parametrize(
    ("wrong", "momentum", "mu", "weights"),
    [
        (NoMomentum, 0.9, 0.0, [0.5, 0.5]),
        (Uniform, 0.0, 0.0, [0.2, 0.8]),
        (AfterEachOther, 0.9, 1e5, [0.5, 0.5]),
    ],
)
def test_fednova_counts_momentum_a_pull_and_the_clients_weights(wrong, momentum, mu, weights):
    """T1 with (2, 20) steps of 1e-7, where drift is next to nothing: a round rests at sum p a b / sum p a."""
    how, (a, b) = replace(training(20, lr=1e-7), momentum=momentum), T1
    expected, found = np.dot(weights, a * b) / np.dot(weights, a), []
    for kind in (FedNova, wrong):
        rule = kind(mu=mu, partial=1.0)
        at_0, at_1 = (
            rounds(rule, how, 1, start=x, steps=(2, 20), weights=weights)[0][0] - x for x in (0.0, 1.0)
        )
        found.append(at_0 / (at_0 - at_1))  # a round's move is a line in x
    assert near(found[0], expected, within=1e-3)
    assert not near(found[1], expected, within=1e-2)


class OtherSign(FedDyn):
    """Adds alpha times the client's h_i, which holds alpha already, with the sign turned: fluke's form."""

    def correct(self, gradient, params, received, shared, own):
        return gradient + self.alpha * own["slope"] + self.alpha * (params - received)


def test_feddyns_slope_is_subtracted_once():
    """T1, alpha 1, 200 steps: 1e-8 from the optimum after 30 rounds; the other sign leaves it for good."""
    ours, theirs = (rounds(kind(1.0), training(200), 30)[0][-1] for kind in (FedDyn, OtherSign))
    assert near(ours, OPTIMUM, within=1e-7)
    assert abs(theirs) > 1e3


class PushesAway(Moon):
    """Takes the client's previous model for the received one: the likeliest slip."""

    def _contrast(self, local, frozen, targets):
        swapped = {"received": frozen["previous"], "previous": frozen["received"]}
        return super()._contrast(local, swapped, targets)


def test_moon_turns_features_towards_the_received_model():
    """Descending the term alone, z_p opposite to z_g. No defect of this kind is known: fluke forgets no_grad,
    which costs time and changes no step."""
    frozen = {
        name: Activations(at, at)
        for name, at in (("received", torch.tensor([[1.0, 0.0]])), ("previous", torch.tensor([[-1.0, 0.0]])))
    }
    found = []
    for kind in (Moon, PushesAway):
        z = torch.tensor([[0.3, 0.8]], requires_grad=True)
        for _ in range(100):
            (slope,) = torch.autograd.grad(kind().added_loss(Activations(z, z), frozen, None).sum(), z)
            z = (z - 0.5 * slope).detach().requires_grad_()
        found.append(float((z[0, 0] / z.norm()).detach()) > 0.95)
    assert found == [True, False]


@dataclass(frozen=True)
class LeansAway(Leaning):
    """Adds pull (x - v): the sign turned, the likeliest slip; no defect of Ditto is known."""

    def correct(self, gradient, params, received):
        return gradient - self.pull * (params - received)


def test_dittos_models_lean_towards_the_received_one():
    """T1 at FedAvg's limit, lambda .1: (a b + lambda x) / (a + lambda)."""
    expected, (a, b) = (0.8745675877, -0.9848721106), map(torch.tensor, T1)
    x, found = torch.full((2,), -0.3797565348, dtype=torch.float64), []
    for rule in (Ditto(0.1).personal, LeansAway(0.1)):
        v = torch.zeros(2, dtype=torch.float64)
        for _ in range(1000):
            v = v - 0.05 * rule.correct(a * (v - b), v, x)
        found.append(near(v, expected))
    assert found == [True, False]


class Sums(FedExP):
    """Takes the sum of the squared lengths for their mean: the likeliest slip; no defect is known."""

    def step(self, params, aggregate, state, share, facts):
        told = {"squared_norm": facts.values["squared_norm"] * len(facts.client_ids)}
        facts = type(facts)(facts.client_ids, facts.num_examples, facts.weights, facts.training, told)
        return super().step(params, aggregate, state, share, facts)


def test_fedexp_takes_a_step_of_one_where_clients_agree():
    """Two equal clients: every round is FedAvg's, y = 1 + .95^10 (x - 1)."""
    twins = np.array([1.0, 1.0]), np.array([1.0, 1.0])
    expected = 1 - 0.95 ** (10 * np.arange(1, 6))
    ours, theirs = (rounds(kind(eps=0.0), TEN, 5, twins)[0] for kind in (FedExP, Sums))
    assert near(ours, expected, within=1e-12)
    assert near(theirs, expected, within=1e-12)  # 2 / 2: a factor of two clients hides it
    three = np.ones(3), np.ones(3)
    ours, theirs = (rounds(kind(eps=0.0), TEN, 5, three)[0] for kind in (FedExP, Sums))
    assert near(ours, expected, within=1e-12)
    assert not near(theirs, expected, within=0.1)
