"""What every core algorithm owes on quadratic clients: by its own functions in float64, and by the engine.

Gradient descent where clients take one full step, no change under other names for the clients, two
half-weight copies of a client for one, rest of the exact ones at the optimum. Expected values are
worked out here.
"""

import numpy as np
import pytest
import torch
from core_rounds import descent, rounds
from quadratics import OPTIMUM, T1, by_the_engine, t2, training
from whole_runs import states

from gauntlet.clients.algorithms.ditto import Ditto
from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.feddyn import FedDyn
from gauntlet.clients.algorithms.fedexp import FedExP
from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.algorithms.heterofl import HeteroFL
from gauntlet.clients.algorithms.moon import Moon
from gauntlet.clients.algorithms.qffl import QFFL
from gauntlet.clients.algorithms.scaffold import Scaffold
from gauntlet.core.seeds import generator
from gauntlet.server.optimizers import SERVER_OPTIMIZERS
from gauntlet.server.optimizers.adam import Adam
from gauntlet.server.optimizers.sgd import SGD
from gauntlet.server.spec import PluginSpec

ONE, TEN = training(1), training(10)
FOUR = np.array([1.0, 4.0, 2.0, 0.5]), np.array([1.0, -1.0, 3.0, 0.2])
DESCENDS = [
    FedAvg(),
    FedProx(1.0),
    Scaffold(),
    Scaffold("I"),
    FedNova(),
    Ditto(),
    HeteroFL(mask=False),
    Moon(),
]
ALL = [*DESCENDS, FedDyn(1.0), FedExP(), QFFL(2.0)]


def named(rules):
    return pytest.mark.parametrize("rule", rules, ids=repr)


@named(DESCENDS)
def test_one_full_step_a_round_is_gradient_descent(rule):
    """Every round of a step on sum f_i / N, the first one to -.075 on T1."""
    assert rounds(rule, ONE, 6)[0] == pytest.approx(descent(ONE, 6), abs=1e-14)
    assert descent(ONE, 1)[0] == pytest.approx(-0.075, abs=1e-15)


@named(ALL)
def test_the_order_of_clients_does_not_matter(rule):
    order = np.array([2, 0, 3, 1])
    renamed = tuple(part[order] for part in FOUR)
    ours, theirs = (rounds(rule, TEN, 8, clients)[0] for clients in (FOUR, renamed))
    assert theirs == pytest.approx(ours, abs=1e-12)


@named([rule for rule in ALL if not getattr(rule, "weighs_alike", False)])
def test_two_half_weight_copies_of_a_client_are_one_client(rule):
    copied = tuple(np.append(part, part[1]) for part in T1)
    found = rounds(rule, TEN, 8, copied, weights=[0.5, 0.25, 0.25])[0]
    assert found == pytest.approx(rounds(rule, TEN, 8)[0], abs=1e-13)


@named([Scaffold(), Scaffold("I"), FedDyn(1.0)])
def test_everybody_twice_is_everybody_once(rule):
    """For those that weigh all clients alike."""
    found = rounds(rule, TEN, 8, tuple(np.tile(part, 2) for part in FOUR))[0]
    assert found == pytest.approx(rounds(rule, TEN, 8, FOUR)[0], abs=1e-13)


@pytest.mark.parametrize(
    ("rule", "group", "how"), [(Scaffold(), "control", TEN), (FedDyn(1.0), "slope", training(200))], ids=repr
)
def test_exact_methods_rest_at_the_optimum(rule, group, how):
    """From where 45 rounds lead, 5 more move next to nothing; the clients' rows are the gradients there."""
    trace, state, memory = rounds(rule, how, 50)
    assert abs(trace[45:] - OPTIMUM).max() < 1e-10
    (a, b), found = T1, [float(memory[i]) for i in (0, 1)]
    assert found == pytest.approx(list(a * (OPTIMUM - b)), abs=1e-10)
    assert float(state[group]) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("rule", [Scaffold(), Scaffold("I"), FedDyn(3.0)], ids=repr)
def test_what_the_server_keeps_is_the_mean_over_all_clients_visited_or_not(rule):
    a, b, cohorts = t2()
    _, state, memory = rounds(rule, TEN, 6, (a, b), cohorts=cohorts, start=3.0)
    (kept,) = (state[name] for name in ("control", "slope") if name in state)
    assert len(memory) < len(a)
    assert float(kept) == pytest.approx(sum(map(float, memory.values())) / len(a), abs=1e-13)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam()], ids=repr)
def test_servers_with_a_memory_do_not_descend_as_gradient_descent_does(optimizer):
    """FedAvgM's second step holds 0.9 of the first; FedAdam's is lr (1 - beta1) Delta / (sqrt v + tau)."""
    found, (first, second) = rounds(FedAvg(), ONE, 2, optimizer=optimizer)[0], descent(ONE, 2)
    if isinstance(optimizer, SGD):
        assert found == pytest.approx([first, second + 0.9 * first], abs=1e-14)
    else:
        v = 0.99 * 1e-6 + 0.01 * first**2
        assert found[0] == pytest.approx(0.1 * 0.1 * first / (v**0.5 + 1e-3), abs=1e-14)


def test_partial_work_steps_as_far_as_was_drawn():
    """A client of K_i steps goes to c_i + q_i (x - c_i), c_i = (a_i b_i + mu x) / (a_i + mu)."""
    rule, (a, b) = FedProx(1.0, partial=0.7), T1
    counts = [[rule.takes_steps(10, lambda t=t, i=i: generator(3, "steps taken", t, i)) for i in (0, 1)]
              for t in range(6)]  # fmt: skip
    x, expected = 0.0, []
    for taken in counts:
        centre = (a * b + x) / (a + 1)
        x = (centre + (1 - 0.05 * (a + 1)) ** np.array(taken) * (x - centre)).mean()
        expected.append(x)
    spec = by_the_engine(PluginSpec("fedprox", {"mu": 1.0, "partial": 0.7}), TEN, 6)
    assert len(set(map(tuple, counts))) > 1
    assert [float(s.params) for s in states(spec)] == pytest.approx(expected, abs=1e-6)


def test_partial_work_is_drawn_evenly_below_all():
    rule = FedProx(partial=0.5)
    drawn = [rule.takes_steps(5, lambda n=n: np.random.default_rng(n)) for n in range(2000)]
    shares = np.bincount(drawn, minlength=6)[1:] / 2000
    assert shares == pytest.approx([0.125, 0.125, 0.125, 0.125, 0.5], abs=0.03)
    assert FedProx().takes_steps is None
    with pytest.raises(ValueError, match="partial must be between 0 and 1, got 2"):
        FedProx(partial=2)


# ---- by the engine ----------------------------------------------------------------------------------------

ENGINE = {
    "fedavg": ({}, FedAvg()),
    "fedprox": ({"mu": 1.0}, FedProx(1.0)),
    "fednova": ({}, FedNova()),
    "fedexp": ({}, FedExP()),
    "ditto": ({}, Ditto()),
    "heterofl": ({"mask": False}, HeteroFL(mask=False)),
    "scaffold": ({}, Scaffold()),
    "feddyn": ({"alpha": 1.0}, FedDyn(1.0)),
}


@pytest.mark.parametrize("name", ENGINE)
def test_the_engine_follows_the_functions_on_two_clients(name):
    options, rule = ENGINE[name]
    found = [float(s.params) for s in states(by_the_engine(PluginSpec(name, options), TEN, 5))]
    assert found == pytest.approx(rounds(rule, TEN, 5)[0], abs=1e-5)


SERVERS = [
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.5, "nesterov": True, "lr": 0.4}),
    ("adagrad_norm", {"lr": 0.3}),
    ("grokfast", {"memory": 0.5, "lr": 0.3}),
    *((n, {}) for n in ("adam", "yogi", "adagrad", "adabelief", "adgd", "exadam")),
]


@pytest.mark.parametrize(("name", "options"), SERVERS)
def test_the_engine_follows_the_servers_functions_on_two_clients(name, options):
    spec = by_the_engine(PluginSpec("fedavg"), TEN, 5, server_optimizer=PluginSpec(name, options))
    expected = rounds(FedAvg(), TEN, 5, optimizer=SERVER_OPTIMIZERS.build(name, options))[0]
    assert [float(s.params) for s in states(spec)] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("adam", {}, 0.19802019),
        ("yogi", {}, 0.19802000),
        ("adam", {"v0": "zero", "bias_correction": "flower"}, 0.17279018),
        ("adagrad", {"tau": 0.5, "v0": "zero"}, 0.15),
    ],
)
def test_the_engines_first_adaptive_step_is_the_known_one(name, options, expected):
    """T3: clients at .2 and 1, from .1."""
    optimizer = PluginSpec(name, options)
    (state,) = states(
        by_the_engine(PluginSpec("fedavg"), training(1, 1.0), 1, "t3", server_optimizer=optimizer)
    )
    assert float(state.params) == pytest.approx(expected, abs=1e-6)


REDUCED = [
    ("fedprox", {"mu": 0.0}),
    ("moon", {"mu": 0.0}),
    ("ditto", {"pull": 3.0}),
    ("heterofl", {"rates": [1.0], "mask": False}),
]


@pytest.mark.parametrize(("name", "options"), REDUCED)
def test_without_what_it_adds_it_is_fedavg_to_the_last_bit(name, options):
    ours, plain = (by_the_engine(PluginSpec(*who), TEN, 4) for who in ((name, options), ("fedavg",)))
    for found, expected in zip(states(ours), states(plain), strict=True):
        assert torch.equal(found.params, expected.params)
