"""Algorithms whose clients have replicas of others' examples, and that combine messages themselves, in runs.

Oracles: each client's own gradient, and the sum of what was sent.
"""

from dataclasses import dataclass

import pytest
import torch
from whole_runs import rounds as run

from gauntlet.core.contracts import Verdict, Worked
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.spec import PluginSpec, RoleSpec

NOISE = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}


@dataclass(frozen=True)
class Neighbours:
    """Client i sends minus the gradient of the examples of client i + 1, and the server adds all up."""

    how: str = ""

    def schedule(self, training):
        return training

    def replicas(self, client_id, num_clients):
        return ((client_id + 1) % num_clients,)

    def work(self, visit):
        behind = 0 if self.how == "own" else 1
        other = visit.of((visit.client_id + behind) % visit.num_clients)
        assert (other.round, other.client_id) == (visit.round, (visit.client_id + 1) % visit.num_clients)
        gradient, loss = other.gradient(visit.received)
        again = other.gradient(visit.received)[0]
        assert torch.equal(gradient, again)
        assert gradient.data_ptr() != again.data_ptr()
        assert not torch.equal(gradient, other.gradient(visit.received + 1)[0])
        return Worked(-gradient, loss, examples=0 if self.how == "none" else other.num_examples + 100)

    def init(self):
        return {"seen": 0}

    def combine(self, messages, state, num_clients):
        assert num_clients == 8
        total = messages.vectors.double().sum(dim=0).float()
        total = total[1:] if self.how == "short" else total
        return Verdict(total), {"seen": state["seen"] + len(messages)}

    def step(self, params, aggregate, state):
        assert state["seen"] % 8 == 0
        assert state["seen"]
        return params + aggregate, state


@pytest.fixture
def neighbours(small):
    def spec(how="", **changes):
        named = {"algorithm": PluginSpec(f"{__file__}:Neighbours", {"how": how})}
        return small(**{**named, "model": PluginSpec("logistic_regression"), "rounds": 2, **changes})

    return spec


@pytest.mark.parametrize("rows", [True, False])
def test_what_clients_send_of_each_others_examples_is_combined_in_the_place_of_a_defense(neighbours, rows):
    simulation, steps = run(neighbours(rows=rows))
    kernel, params = simulation.serial_pool(), steps[0].outcome.broadcast.params
    assert steps[-1].state.optimizer == {"seen": 16}
    assert kernel is not None
    moved = torch.zeros_like(params, dtype=torch.float64)
    for client in range(8):
        x, y = simulation.data.client(client)
        weight, bias = params[:640].view(10, 64).double(), params[640:].double()
        off = (x.double().flatten(1) @ weight.T + bias).softmax(dim=1)
        off[torch.arange(len(y)), y] -= 1
        moved -= torch.cat([(off.T @ x.double().flatten(1)).flatten(), off.sum(dim=0)]) / len(y)
    assert (steps[0].state.params - params).numpy() == pytest.approx(moved.numpy(), abs=1e-5)


def test_a_message_claims_the_examples_that_its_client_worked_on(neighbours):
    simulation, (first, *_) = run(neighbours(rounds=1))
    sizes = [len(simulation.data.client((i + 1) % 8)[1]) + 100 for i in range(8)]
    assert first.outcome.sent.num_examples.tolist() == sizes


def test_copies_of_a_poisoned_clients_examples_are_poisoned(neighbours):
    flip = PluginSpec("label_flip", {"source": 1, "target": 7})
    _, (honest,) = run(neighbours(rounds=1))
    _, (lied,) = run(neighbours(rounds=1, roles=(RoleSpec(flip, clients=(3,)),)))
    same = (honest.outcome.sent.vectors == lied.outcome.sent.vectors).all(dim=1)
    assert same.tolist() == [i != 2 for i in range(8)]  # who holds client 3's


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("own", "client 0 has no replicas of client 0's examples; allowed: 1"),
        ("none", "work must return a Worked whose examples are a whole number of at least 1, or None, got"),
        ("short", r"the algorithm returned an aggregate of shape \(649,\), expected \(650,\)"),
    ],
)
def test_what_an_algorithm_may_not_is_one_line(neighbours, how, words):
    with pytest.raises(PluginError, match=words) as caught:
        run(neighbours(how))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"defense": PluginSpec("median")}, r"brings its own defense: leave \[defense\] out, got 'median'"),
        ({"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)}, "leave pre_aggregations out, got"),
        ({"codec": PluginSpec("fp16")}, "factors that magnify what codec 'fp16' loses of each; use identity"),
        ({"privacy": PluginSpec("gaussian", NOISE)}, "goes with privacy none"),
        ({"schedule": PluginSpec("buffered", {"buffer_size": 4})}, "that began in the same round"),
    ],
)
def test_what_does_not_go_with_a_combination_is_refused(neighbours, changes, words):
    with pytest.raises(ScenarioError, match=words) as caught:
        run(neighbours(**changes))
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Borrowed(Neighbours):
    """The same without a combination: messages go to a defense."""

    combine = None

    def init(self):
        return {"seen": 8}


def test_a_defense_with_examples_of_its_own_is_refused_where_clients_hold_copies(neighbours):
    borrowed = PluginSpec(f"{__file__}:Borrowed")
    assert run(neighbours(algorithm=borrowed))[1]
    with pytest.raises(ScenarioError, match="'fltrust' has the server do the same on its own"):
        run(neighbours(algorithm=borrowed, defense=PluginSpec("fltrust"), root_examples=20))


@dataclass(frozen=True)
class Noised(Borrowed):
    """The same, and it says that it goes with mechanisms."""

    mechanisms = ("gaussian", "dp_sgd", "secure_sum")


@dataclass(frozen=True)
class Added(Neighbours):
    """One that combines single messages of clients' own examples, and says that it goes with mechanisms."""

    mechanisms = Noised.mechanisms
    replicas = None

    def work(self, visit):
        gradient, loss = visit.gradient(visit.received)
        return Worked(-gradient, loss)


@pytest.mark.parametrize(
    ("name", "privacy", "words"),
    [
        ("Noised", PluginSpec("gaussian", NOISE), "counts each example in one client's messages alone"),
        ("Noised", PluginSpec("dp_sgd", NOISE), "counts each example in one client's messages alone"),
        ("Noised", PluginSpec("secure_sum"), "counts each example in one client's messages alone"),
        ("Added", PluginSpec("gaussian", NOISE), "'gaussian' protects a mean or a sum of them"),
        ("Added", PluginSpec("secure_sum"), "'secure_sum' protects a mean or a sum of them"),
    ],
)
def test_a_guarantee_that_copies_or_a_combination_break_is_refused_whatever_is_declared(
    neighbours, name, privacy, words
):
    with pytest.raises(ScenarioError, match=words) as caught:
        run(neighbours(algorithm=PluginSpec(f"{__file__}:{name}"), privacy=privacy))
    assert "\n" not in str(caught.value)
