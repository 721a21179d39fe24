"""FedAsync: x = (1 - a s) x + a s y by hand, through the whole engine; and what it is charged."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from event_script import script

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.server.assembly.loading import load_data
from gauntlet.server.assembly.parts import Parts
from gauntlet.server.schedules.fedasync import FedAsync
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

HEAVY = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0})
FIXED = PluginSpec("mean", {"weighting": "fixed"})


def steps_of(spec):
    simulation = prepare(spec)
    return list(simulation.steps(simulation.serial_pool()))


def halfway(durations, options, rounds):
    """Client i, of target i + 1, ends halfway between its start and its target; everybody begins at 0 s."""
    n = len(durations)
    schedule = {"concurrency": n, **options}
    turns = "/".join([" ".join(map(str, range(n)))] + [""] * (rounds - 1))
    spec = script(durations, turns, rounds, schedule, algorithm=PluginSpec("fedavg"))
    data = {
        "sizes": " ".join(map(str, durations)),
        "targets": " ".join(str(i + 1) for i in range(n)),
    }
    training = LocalTraining(local_steps=1, batch_size=0, lr=0.5)
    network = PluginSpec("script", {"seconds": [list(durations)], "repeat": True})
    schedule = PluginSpec("fedasync", schedule)
    spec = replace(spec, data=replace(spec.data, options=data), training=training, schedule=schedule)
    return [(s.state.clock, float(s.state.params)) for s in steps_of(replace(spec, network=network))]


def test_each_message_moves_the_model_towards_its_clients_by_hand():
    """Clients of targets 1, 2, 3 end at y = 0.5, 1, 1.5 after 1, 2, 3 s; alpha = 0.6, s = (1 + tau)^-0.5.

    x = 0.6 0.5 = 0.3; then a = 0.6 / sqrt(2), x = (1 - a) 0.3 + a; then a = 0.6 / sqrt(3). With the direction
    y - x of the start the second would be 0.3 + a.
    """
    found = halfway((1, 2, 3), {"mixing": 0.6}, 3)
    x = [0.6 * 0.5]
    for a, y in ((0.6 / 2**0.5, 1.0), (0.6 / 3**0.5, 1.5)):
        x.append((1 - a) * x[-1] + a * y)
    assert [t for t, _ in found] == [1.0, 2.0, 3.0]
    assert [v for _, v in found] == pytest.approx(x, abs=1e-6)


def test_whole_steps_put_the_clients_model_in_the_place_of_the_servers(small):
    """alpha = s = 1: the parameters after a round are those that the client holds."""
    options = {"mixing": 1.0, "staleness": "constant", "concurrency": 5}
    steps = steps_of(small(schedule=PluginSpec("fedasync", options), network=HEAVY, rounds=6))
    stale = 0
    for step in steps:
        (client,), (update,) = step.outcome.received.client_ids.tolist(), step.outcome.received.vectors
        held = step.outcome.down(client).broadcast.params + update
        assert torch.allclose(step.state.params, held, atol=1e-6)
        stale += int(step.outcome.round - step.outcome.received.started)
    assert stale > 0


def test_one_client_at_a_time_is_fedavg_of_a_smaller_step(small):
    """Without staleness the direction is the update: alpha times it."""
    options = {"mixing": 0.25, "concurrency": 1}
    for step in steps_of(small(schedule=PluginSpec("fedasync", options), network=HEAVY, rounds=4)):
        o = step.outcome
        assert torch.allclose(step.state.params - o.broadcast.params, 0.25 * o.received.vectors[0], atol=1e-6)


WEIGHTS = [
    ({"staleness": "constant"}, [1, 1, 1, 1]),
    ({"exponent": 1.0}, [1, 1 / 2, 1 / 5, 1 / 7]),
    ({"staleness": "hinge"}, [1, 1, 1, 1 / 21]),
    ({"staleness": "hinge", "slope": 1.0, "cutoff": 0}, [1, 1 / 2, 1 / 5, 1 / 7]),
]


@pytest.mark.parametrize(("options", "expected"), WEIGHTS)
def test_weights_by_staleness(options, expected):
    """At tau = 0, 1, 4, 6: the paper's hinge with a = 10, b = 4 is 1 / (10 (6 - 4) + 1) at 6."""
    tau = torch.tensor([0, 1, 4, 6])
    assert FedAsync(**options).weights(tau, tau).tolist() == pytest.approx(expected)


def private(**changes):
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "relation": "zero_out"}
    schedule = PluginSpec("fedasync", {"mixing": 0.5, "concurrency": 5})
    return {"network": HEAVY, "schedule": schedule, "privacy": PluginSpec("gaussian", how), **changes}


def test_a_clients_messages_are_charged_and_noised_as_clipped_updates(small):
    """The busiest, with k messages, pays a Gaussian of z / sqrt(k); the noise on x is alpha z C = 0.5.

    What a message moves the model by is alpha s (clipped update + the way gone since), of which the second
    part follows from what was released before.
    """
    steps, counted = steps_of(small(**private(rounds=8, defense=FIXED))), Counter()
    for step in steps:
        o = step.outcome
        counted.update(o.sent.client_ids.tolist())
        assert o.epsilon.value == pytest.approx(gaussian_epsilon(max(counted.values()) / 4, 1e-3), rel=1e-9)
        (client,), row = o.received.client_ids.tolist(), o.received.vectors[0].double()
        s = (1 + o.round - int(o.received.started)) ** -0.5
        gone = o.down(client).broadcast.params.double() - o.broadcast.params.double()
        step_ = 0.5 * s * (row * min(1.0, 0.5 / float(row.norm())) + gone)
        noise = step.state.params.double() - o.broadcast.params.double() - step_
        assert float(noise.std()) == pytest.approx(0.5 * 2 * 0.5, rel=0.1)


def test_a_client_whose_update_is_refused_moves_the_model_as_one_that_changed_nothing(small):
    """s times the way gone since it began: left out instead, its data would move the model by all of that.

    Inputs of 3e38 are finite, and their gradients are not: a client of them sends NaN.
    """
    spec = small(**private(rounds=6, defense=FIXED))
    data = load_data(Parts(spec))
    busy = steps_of(spec)[-1].outcome.sent.client_ids.tolist()[0]
    rows = data.order[data.offsets[busy] : data.offsets[busy + 1]]
    x = data.x.copy()
    x[rows] = 3e38
    simulation, ways = prepare(spec, data=replace(data, x=x)), []
    for step in simulation.steps(simulation.serial_pool()):
        o = step.outcome
        if busy not in o.refused:
            assert o.verdict.weights.tolist() == [1.0]
            continue
        gone = o.down(busy).broadcast.params - o.broadcast.params
        s = (1 + o.round - int(o.sent.started)) ** -0.5
        assert torch.allclose(o.verdict.aggregate, s * gone, atol=1e-6)
        assert (len(o.received), o.verdict.weights.tolist()) == (0, [])
        ways.append(float(gone.norm()))
    assert max(ways) > 5 * 0.5  # in a round in which it is charged for a clip norm of 0.5


def test_no_epsilon_behind_a_rule_that_bounds_clipped_messages_alone(small):
    """``parameter_certificate`` clips again, and declares what a clipped message moves its sum by."""
    again = PluginSpec("parameter_certificate", {"clip_norm": 0.5, "num_byzantine": 1})
    flat = {"model": PluginSpec("logistic_regression")}
    for defense, reason in ((again, "aggregator"), (PluginSpec("mean"), "weights")):
        epsilon = steps_of(small(**flat, **private(rounds=1, defense=defense)))[-1].outcome.epsilon
        assert (epsilon.value, epsilon.reason) == (None, reason)
    one = private(rounds=1, defense=again, schedule=PluginSpec("buffered", {"buffer_size": 1}))
    assert steps_of(small(**flat, **one))[-1].outcome.epsilon.value > 0


OTHERS = [
    ({"algorithm": PluginSpec("scaffold"), "defense": PluginSpec("mean", {"weighting": "uniform"})}, "algor"),
    ({"algorithm": PluginSpec("fednova")}, "algorithm 'fednova' sends others"),
    ({"codec": PluginSpec("ef21", {"codec": "topk"})}, "codec 'ef21' keeps a mean"),
    ({"server": PluginSpec("imprint", {"bins": 4})}, "server 'imprint' plants others"),
]


@pytest.mark.parametrize(("changes", "words"), OTHERS)
def test_messages_that_are_no_way_of_parameters_are_refused(small, changes, words):
    with pytest.raises(ScenarioError, match=words):
        prepare(small(schedule=PluginSpec("fedasync"), **changes))


BAD = [
    ({"mixing": 0.0}, "mixing must be above 0 and at most 1, got 0.0"),
    ({"exponent": 2.0}, "exponent must be from 0 to 1"),
    ({"slope": -1.0}, "slope must be at least 0 and finite"),
    ({"staleness": "threshold"}, "staleness must be constant, polynomial or hinge, got 'threshold'"),
    ({"concurrency": 0}, "concurrency must be at least 1"),
    ({"max_staleness": -1}, "max_staleness must be at least 0"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        FedAsync(**options)
