"""Whole runs of algorithms that send, receive and remember more than parameters."""

import numpy as np
import pytest
import torch
from quadratics import T1, by_functions, by_the_engine, t2, training

from gauntlet.clients.algorithms.scaffold import Scaffold
from gauntlet.core.trees import equal
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

SCAFFOLD = PluginSpec("scaffold")


def states(spec, pool=None, state=None):
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    found = [step.state for step in simulation.steps(pool, state)]
    pool.close()
    return found


def fields(state):
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


@pytest.mark.parametrize("vectorize", ["on", "off"])
@pytest.mark.parametrize("option", ["I", "II"])
def test_the_engine_follows_scaffolds_own_functions_on_two_clients(option, vectorize):
    spec = by_the_engine(PluginSpec("scaffold", {"option": option}), training(10), 20, vectorize=vectorize)
    trace, _, _ = by_functions(Scaffold(option), *T1, training(10), [np.arange(2)] * 20, 0.0)

    assert [float(s.params) for s in states(spec)] == pytest.approx(trace, abs=1e-5)


def test_the_engine_follows_scaffolds_own_functions_where_a_tenth_takes_part():
    """T2, with its own cohorts: |x - x*| after 10, 50 and 200 rounds is 0.348, 0.0174 and 1.5e-7."""
    a, b, cohorts = t2()
    trace, _, _ = by_functions(Scaffold(), a, b, training(10), cohorts[:60], 3.0)
    found = states(by_the_engine(SCAFFOLD, training(10), 60, "t2"))

    assert [float(s.params) for s in found] == pytest.approx(trace, abs=1e-5)
    assert abs(float(found[9].params) - (a * b).sum() / a.sum()) == pytest.approx(0.348, rel=1e-2)
    mean = torch.stack(list(found[-1].clients.values())).double().sum() / 100
    assert float(found[-1].optimizer["control"]) == pytest.approx(float(mean), abs=1e-5)
    assert set(found[-1].clients) == set(np.concatenate(cohorts[:60]))


@pytest.fixture
def rowed(small):
    """A run of scaffold on digits in which some clients take part and some messages are lost."""
    return small(
        rounds=4,
        num_clients=8,
        algorithm=SCAFFOLD,
        defense=PluginSpec("mean", {"weighting": "uniform"}),
        sampler=PluginSpec("poisson", {"sample_rate": 0.7}),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3}),
    )


def test_serial_and_ray_give_the_same_bits_of_parameters_and_memory(rowed, ray_here):
    serial = states(rowed)[-1]
    on_ray = states(rowed, lambda simulation: simulation.ray_pool(2))[-1]

    assert len(serial.clients) > 3
    assert equal(fields(on_ray), fields(serial))


def test_only_counted_messages_are_remembered(rowed):
    """By the mailbox: who came in time. Lost messages leave a client's memory as it was."""
    simulation = prepare(rowed)
    before, lost = simulation.first, 0
    for step in simulation.steps(simulation.serial_pool()):
        came = set(step.outcome.received.client_ids.tolist())
        for client in step.outcome.sent.client_ids.tolist():
            lost += client not in came
            old, new = before.clients.get(client), step.state.clients.get(client)
            assert (new is old) == (client not in came)
            assert (step.state.counted.get(client) == step.outcome.round) == (client in came)
        before = step.state
    assert lost > 0


def test_a_message_that_is_not_finite_is_not_counted(small):
    """The attacker's own training is honest: what it would remember is finite, and is dropped."""
    roles = (RoleSpec(PluginSpec("non_finite"), clients=(1,)),)
    defense = PluginSpec("mean", {"weighting": "uniform"})
    state = states(small(algorithm=SCAFFOLD, defense=defense, roles=roles))[-1]

    assert set(state.clients) == {0, 2, 3, 4, 5, 6, 7}


def test_a_message_is_counted_in_bytes_as_it_is_declared(small):
    """Two float32 of each of P parameters, up and down, and no more than names and checks besides."""
    defense = PluginSpec("mean", {"weighting": "uniform"})
    plain, both = (
        states(small(rounds=1, defense=defense, algorithm=PluginSpec(name)))[-1]
        for name in ("fedavg", "scaffold")
    )
    extra = 8 * 4 * len(plain.params)

    assert 0 <= both.bytes_up - plain.bytes_up - extra < 8 * 100
    assert both.bytes_down - plain.bytes_down == extra


@pytest.mark.parametrize(
    "ingredient",
    [
        {"defense": PluginSpec("median")},
        {"defense": PluginSpec("krum", {"num_byzantine": 1})},
        {"defense": PluginSpec("lasa")},
        {"codec": PluginSpec("terngrad")},
        {"roles": (RoleSpec(PluginSpec("sign_flip"), count=2),)},
        {"roles": (RoleSpec(PluginSpec("gradient_ascent"), count=2),)},
        {"vectorize": "off"},
        {"privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})},
        {"privacy": PluginSpec("local_gaussian", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})},
        {"defense": PluginSpec("fltrust"), "root_examples": 20},
    ],
    ids=lambda changes: next(iter(changes)) + " " + str(next(iter(changes.values())))[:20],
)
def test_scaffold_goes_with_what_works_on_messages(small, ingredient):
    spec = small(
        **{"algorithm": SCAFFOLD, "defense": PluginSpec("mean", {"weighting": "uniform"})} | ingredient
    )
    first, *_, last = states(spec)

    assert bool(last.params.isfinite().all())
    assert not torch.equal(first.params, last.params)
    assert len(last.clients) == 8 + (spec.root_examples > 0)
