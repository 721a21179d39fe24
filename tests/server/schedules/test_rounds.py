"""Rounds that end before everybody is there: golden durations, who is remembered, and what is charged."""

from collections import Counter

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Traffic
from gauntlet.core.errors import ScenarioError
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.server.schedules import SCHEDULES
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

inf = float("inf")
UNIFORM, FIXED = (PluginSpec("mean", {"weighting": how}) for how in ("uniform", "fixed"))
HEAVY = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.15})
ROUNDS = [
    PluginSpec("deadline", {"seconds": 1.5}),
    PluginSpec("over_select", {"goal": 4}),
    PluginSpec("quorum", {"slack": 1.0}),
]
GOLDEN = [  # of the durations 3, 1, 2: the length, and who counts
    ("synchronous", {}, 3.0, [0, 1, 2]),
    ("deadline", {"seconds": 2.5}, 2.5, [1, 2]),
    ("deadline", {"seconds": 2.0}, 2.0, [1, 2]),
    ("deadline", {"seconds": 9.0}, 3.0, [0, 1, 2]),
    ("over_select", {"goal": 2}, 2.0, [1, 2]),
    ("over_select", {"goal": 3}, 3.0, [0, 1, 2]),
    ("quorum", {"slack": 1.0}, 2.0, [1, 2]),
    ("quorum", {"slack": 5.0}, 3.0, [0, 1, 2]),
    ("quorum", {"slack": 1.0, "most_late": 1}, 2.0, [1, 2]),
    ("quorum", {"slack": 1.0, "most_late": 0}, 3.0, [0, 1, 2]),
]


def traffic(arrives, now=0.0, waits=None):
    """Clients that began together at ``now``."""
    arrives = now + np.array(arrives, dtype=np.float64)
    ids = np.arange(len(arrives))
    last = arrives[np.isfinite(arrives)].max(initial=now) if waits is None else now + waits
    begins = np.full(len(ids), now)
    return Traffic(0, now, ids, ids, np.zeros_like(ids), begins, arrives, np.full(len(ids), last))


def steps_of(spec):
    simulation = prepare(spec)
    return list(simulation.steps(simulation.serial_pool()))


@pytest.mark.parametrize(("name", "options", "length", "counted"), GOLDEN, ids=str)
def test_golden_rounds(name, options, length, counted):
    for now in (0.0, 100.0):
        found, _ = SCHEDULES.build(name, options).arrivals(traffic([3, 1, 2], now), None)
        assert found.at - now == length
        assert np.flatnonzero(found.counted).tolist() == counted
        assert (found.dropped == ~found.counted).all()


@pytest.mark.parametrize(("name", "options", "length", "counted"), GOLDEN[1::2], ids=str)
def test_the_engine_plays_golden_rounds_twice(small, name, options, length, counted):
    """Who was late has given up, and begins again with the others; who counts alone is averaged."""
    network = PluginSpec("script", {"seconds": [[3, 1, 2]], "repeat": True})
    how = {"network": network, "num_clients": 3, "rounds": 2, "schedule": PluginSpec(name, options)}
    for number, step in enumerate(steps_of(small(**how, defense=UNIFORM))):
        o = step.outcome
        assert step.state.clock == (number + 1) * length
        assert o.began.tolist() == [0, 1, 2]
        assert o.received.client_ids.tolist() == counted
        assert o.sent.client_ids.tolist() == [0, 1, 2]
        assert step.state.mailbox is None
        assert torch.allclose(o.verdict.aggregate, o.sent.vectors[counted].mean(dim=0), atol=1e-7)


def test_ties_are_broken_by_client_id():
    found, _ = SCHEDULES.build("over_select", {"goal": 2}).arrivals(traffic([2, 2, 2]), None)
    assert np.flatnonzero(found.counted).tolist() == [0, 1]


LOST = [  # of the durations 1, never, 4, where the network gives up the second after 5 s
    ("deadline", {"seconds": 9.0}, 5.0, [0, 2]),
    ("over_select", {"goal": 3}, 5.0, [0, 2]),
    ("over_select", {"goal": 2}, 4.0, [0, 2]),
    ("quorum", {"slack": 1.0}, 2.0, [0]),
    ("quorum", {"slack": 1.0, "most_late": 1}, 5.0, [0, 2]),
]


@pytest.mark.parametrize(("name", "options", "length", "counted"), LOST, ids=str)
def test_a_message_that_is_lost_never_counts(name, options, length, counted):
    found, _ = SCHEDULES.build(name, options).arrivals(traffic([1, inf, 4], 0.0, 5.0), None)
    assert (found.at, np.flatnonzero(found.counted).tolist()) == (length, counted)


@pytest.mark.parametrize("schedule", ROUNDS, ids=lambda s: s.name)
def test_rules_with_a_memory_remember_who_counted_and_nobody_else(small, schedule):
    how = {"rounds": 6, "network": HEAVY, "schedule": schedule}
    steps, sums = steps_of(small(**how, defense=PluginSpec("foolsgold"))), {}
    for step in steps:
        o = step.outcome
        assert o.received.client_ids.tolist() == o.sent.client_ids[o.delivery.arrived].tolist()
        assert bool((o.sent.started == o.round).all())
        for i, row in zip(o.received.client_ids.tolist(), o.received.vectors, strict=True):
            sums[i] = sums.get(i, 0) + row.double()
    assert any(not step.outcome.delivery.arrived.all() for step in steps)
    last = steps[-1].state.defense
    assert set(last) == set(sums)
    assert all(torch.allclose(last[i].double(), sums[i], rtol=1e-5, atol=1e-7) for i in sums)


@pytest.mark.parametrize("schedule", ROUNDS, ids=lambda s: s.name)
@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn"])
def test_what_algorithms_keep_is_the_mean_over_all_clients(small, schedule, algorithm):
    """SCAFFOLD's c = mean(c_i) and FedDyn's h = mean(h_i) over all N, whoever counted."""
    how = {"rounds": 4, "network": HEAVY, "schedule": schedule, "defense": UNIFORM}
    steps = steps_of(small(algorithm=PluginSpec(algorithm), **how))
    for step in steps:
        kept = step.state.optimizer["control" if algorithm == "scaffold" else "slope"].double()
        total = sum(row.double() for row in step.state.clients.values())
        assert torch.allclose(kept, total / 8, atol=1e-5)
    assert any(not step.outcome.delivery.arrived.all() for step in steps)


def test_rules_that_compare_messages_of_one_round_take_rounds_that_end_early(small):
    for defense in (PluginSpec("fldetector"), PluginSpec("flanders", {"num_byzantine": 1})):
        prepare(small(network=HEAVY, schedule=ROUNDS[1], defense=defense))


def private(relation="zero_out"):
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "relation": relation}
    return PluginSpec("gaussian", how)


LINKS = {"latency_seconds": 1.0, "jitter": 1.0}


@pytest.mark.parametrize("schedule", ROUNDS, ids=lambda s: s.name)
def test_every_client_that_left_its_message_is_charged_unamplified(small, schedule):
    """The busiest, with k messages sent, pays a Gaussian of z / sqrt(k), whoever of them counted."""
    how = {"rounds": 4, "privacy": private(), "defense": FIXED, "schedule": schedule}
    few = PluginSpec("fixed_size", {"cohort_size": 6})
    steps = steps_of(small(**how, network=PluginSpec("links", LINKS), sampler=few))
    sent = Counter()
    for step in steps:
        sent.update(step.outcome.sent.client_ids.tolist())
        expected = gaussian_epsilon(max(sent.values()) / 2.0**2, 1e-3)
        assert step.outcome.epsilon.value == pytest.approx(expected, rel=1e-9)
        assert not step.outcome.release.amplified


def test_the_sum_of_a_goal_is_divided_by_the_goal_and_noised_for_it(small):
    """z C / goal = 2 * 0.5 / 4 on the sum of four clipped messages over 4."""
    steps = steps_of(small(network=HEAVY, schedule=ROUNDS[1], privacy=private(), defense=FIXED))
    for step in steps:
        rows = step.outcome.received.vectors.double()
        assert len(rows) <= 4
        mean = (rows * (0.5 / rows.norm(dim=1)).clamp(max=1)[:, None]).sum(dim=0) / 4
        assert torch.allclose(step.outcome.verdict.aggregate.double(), mean, atol=1e-6)
        noise = step.state.params.double() - step.outcome.broadcast.params.double() - mean
        assert float(noise.std()) == pytest.approx(2 * 0.5 / 4, rel=0.1)


NONE = [
    ({"privacy": private("add_remove")}, "schedule"),
    ({"network": PluginSpec("durations", {"per_example": True})}, "selection"),
    ({"network": PluginSpec("links", LINKS | {"compute_seconds_per_example": 0.1})}, "selection"),
    ({"defense": UNIFORM}, "weights"),
]


@pytest.mark.parametrize(("changes", "reason"), NONE, ids=str)
@pytest.mark.parametrize("schedule", ROUNDS, ids=lambda s: s.name)
def test_no_epsilon_where_no_guarantee_holds(small, schedule, changes, reason):
    how = {"rounds": 1, "network": PluginSpec("links", LINKS), "privacy": private(), "defense": FIXED}
    epsilon = steps_of(small(**how | changes, schedule=schedule))[-1].outcome.epsilon
    assert (epsilon.value, epsilon.reason) == (None, reason)


@pytest.mark.parametrize("schedule", ROUNDS, ids=lambda s: s.name)
def test_a_rule_that_needs_several_clients_is_warned_of_rounds_that_leave_some_behind(small, schedule):
    """Krum against one attacker needs five rows; a goal of five is met where nothing is lost."""
    sure = PluginSpec("over_select", {"goal": 5}) if schedule.name == "over_select" else schedule
    run = prepare(small(schedule=sure, defense=PluginSpec("krum", {"num_byzantine": 1})))
    told = "the schedule may leave some behind" in " ".join(run.warnings())
    assert told is (schedule.name != "over_select")


def test_what_counts_on_a_whole_cohort_is_refused(small):
    skellam = PluginSpec("skellam", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3})
    for schedule in ROUNDS:
        with pytest.raises(ScenarioError, match="sums those of one cohort; use schedule synchronous"):
            prepare(small(schedule=schedule, privacy=skellam, defense=FIXED))


BAD = [
    ("deadline", {"seconds": 0.0}, "seconds must be above 0 and finite, got 0.0"),
    ("deadline", {"seconds": inf}, "seconds must be above 0 and finite, got inf"),
    ("over_select", {"goal": 0}, "goal must be at least 1, got 0"),
    ("quorum", {"slack": -1.0}, "slack must be at least 0 and finite, got -1.0"),
    ("quorum", {"most_late": -1}, "most_late must be at least 0, got -1"),
]


@pytest.mark.parametrize(("name", "options", "words"), BAD)
def test_options_that_cannot_be_are_refused(name, options, words):
    with pytest.raises(ValueError, match=words):
        SCHEDULES.find(name)(**options)
