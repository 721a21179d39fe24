"""FedBuff: its scripts of events, once by its own functions in float64 and once through the whole engine.

The scripts and their traces (x = 1.853553391 at 4 s; 1, 2, 2.788675135 at 3, 5, 7 s) were worked out outside
of this package; every client's update is +1.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from event_script import script

from gauntlet.core.contracts import Traffic
from gauntlet.core.errors import CohortError, ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.server.schedules.buffered import Buffered
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

CLOCK = {"starts_by": "constant", "start_rate": 1.0}
FIRST, SECOND = ((4, 1, 1, 1), "0 1 2/3"), ((6, 1, 1, 1, 1, 2), "0 1 2/3 4/5")


def by_functions(schedule, durations, turns, rounds):
    """Return (clock, x) after each round in float64, and whose messages counted; everybody's update is +1.

    Who begins first is left to the schedule: a job is whoever begins, and takes the next of ``durations``.
    """
    none, x, state, found = np.zeros(0), 0.0, schedule.init(), []
    traffic = Traffic(0, 0.0, *([none.astype(np.int64)] * 3), none, none, none)
    jobs = iter(durations)
    for round_ in range(rounds):
        turn = turns.split("/")[round_].split() if round_ < len(turns.split("/")) else []
        traffic = replace(traffic, round=round_, drawn=np.array(turn, dtype=np.int64))
        while True:
            starts, state = schedule.starts(
                traffic, state, generator(0, "starts", round_, len(traffic.begins))
            )
            if not len(starts.client_ids):
                break
            ends = np.array([starts.at + next(jobs) for _ in starts.client_ids])
            grown = {
                "client_ids": starts.client_ids, "started": [round_] * len(ends),
                "begins": [starts.at] * len(ends), "arrives": ends, "waits": [ends.max()] * len(ends),
            }  # fmt: skip
            traffic = replace(traffic, **{k: np.append(getattr(traffic, k), v) for k, v in grown.items()})
        arrivals, state = schedule.arrivals(traffic, state)
        tau = torch.tensor(round_ - traffic.started[arrivals.counted])
        if len(tau):
            weights = schedule.weights(tau, torch.ones_like(tau))
            x += schedule.gain(float(len(tau))) * float(weights.mean())
        found.append((arrivals.at, x, int(arrivals.counted.sum())))
        stay = ~(arrivals.counted | arrivals.dropped)
        names = ("client_ids", "started", "begins", "arrives", "waits")
        traffic = replace(traffic, now=arrivals.at, **{n: getattr(traffic, n)[stay] for n in names})
    return found


def by_the_engine(durations, turns, rounds, schedule, **changes):
    """Return (clock, x) after each round, and whose messages counted; client 0 begins first with seed 0."""
    simulation = prepare(script(durations, turns, rounds, schedule, **changes))
    steps = simulation.steps(simulation.serial_pool())
    return [(s.state.clock, float(s.state.params), s.outcome.received.client_ids.tolist()) for s in steps]


def test_its_functions_follow_the_scripts_of_events():
    schedule = Buffered(buffer_size=2, concurrency=9, **CLOCK)
    one = by_functions(schedule, *FIRST, 2)
    assert [t for t, _, _ in one] == [3.0, 4.0]
    assert [x for _, x, _ in one] == pytest.approx([1.0, 1.853553391], abs=1e-9)
    two = by_functions(schedule, *SECOND, 3)
    assert [t for t, _, _ in two] == [3.0, 5.0, 7.0]
    assert [x for _, x, _ in two] == pytest.approx([1.0, 2.0, 2.788675135], abs=1e-9)


def test_clients_begin_at_the_rate_that_is_asked_for():
    """Two a second: at 0, .5 and 1 s, for 4, 1 and 1 s, so that two are there after 2 s."""
    clock = {"starts_by": "constant", "start_rate": 2.0}
    assert by_functions(Buffered(buffer_size=2, concurrency=9, **clock), *FIRST, 1) == [(2.0, 1.0, 2)]


def test_the_engine_follows_the_scripts_of_events():
    """In the first the message of client 0, from before the first step, comes at 4 s before that of 3."""
    schedule = {"buffer_size": 2, "concurrency": 9, **CLOCK}
    one, two = by_the_engine(*FIRST, 2, schedule), by_the_engine(*SECOND, 3, schedule)
    assert [t for t, _, _ in one] == [3.0, 4.0]
    assert [x for _, x, _ in one] == pytest.approx([1.0, 1.853553391], abs=1e-5)
    assert [ids for _, _, ids in one] == [[1, 2], [0, 3]]
    assert [t for t, _, _ in two] == [3.0, 5.0, 7.0]
    assert [x for _, x, _ in two] == pytest.approx([1.0, 2.0, 2.788675135], abs=1e-5)


def test_a_message_that_is_too_old_is_dropped_and_one_is_left_in_the_buffer():
    """The first script with max_staleness = 0 drops job 0; job 3 is alone, and waits or is applied."""
    old = {"buffer_size": 2, "concurrency": 9, "max_staleness": 0, **CLOCK}
    schedule = Buffered(**old, flush_at_end=False)
    assert by_functions(schedule, *FIRST, 2) == [(3.0, 1.0, 2), (4.0, 1.0, 0)]
    simulation = prepare(script(*FIRST, 2, {**old, "flush_at_end": False}))
    *_, last = simulation.steps(simulation.serial_pool())
    assert last.outcome.sent.client_ids.tolist() == [0]
    assert last.outcome.delivery.arrived.tolist() == [False]
    assert last.state.mailbox.client_ids == [3]
    assert float(last.state.params) == 1.0
    assert by_the_engine(*FIRST, 2, old)[-1] == (4.0, 2.0, [3])


def test_a_client_trains_from_the_model_of_the_round_in_which_it_began():
    """Updates are half of what is missing to each client's target; by hand, from x at the start of each.

    Round 0: x = 0 + (1 + 2) / 2 / 2 = 0.75 (targets 1 and 2). Round 1: client 0 began at x = 0 (target 4):
    u = 2, times 2^-0.5; client 3 (target 3) at 0.75: u = 1.125. With the model of the end client 0 would send
    1.625.
    """
    from gauntlet.core.contracts import LocalTraining

    data = {"sizes": "4 1 1 1", "targets": "4 1 2 3"}
    schedule = {"buffer_size": 2, "concurrency": 9, **CLOCK}
    spec = script(*FIRST, 2, schedule, algorithm=PluginSpec("fedavg"))
    training = LocalTraining(local_steps=1, batch_size=0, lr=0.5)
    spec = replace(spec, data=replace(spec.data, options=data), training=training)
    simulation = prepare(spec)
    states = [step.state for step in simulation.steps(simulation.serial_pool())]
    assert [float(s.params) for s in states] == pytest.approx(
        [0.75, 0.75 + (2 / 2**0.5 + 1.125) / 2], abs=1e-6
    )


WEIGHTS = [
    ({}, [1, 0.5**0.5, 3**-0.5, 0.5, 5**-0.5]),
    ({"exponent": 1.0}, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
    ({"staleness": "constant"}, [1, 1, 1, 1, 1]),
    ({"staleness": "threshold", "cutoff": 2, "late_weight": 0.25}, [1, 1, 1, 0.25, 0.25]),
]


@pytest.mark.parametrize(("options", "expected"), WEIGHTS)
def test_weights_by_staleness(options, expected):
    tau = torch.arange(5)
    assert Buffered(**options).weights(tau, torch.full((5,), 9)).tolist() == pytest.approx(expected)


def test_weights_divided_by_the_usual_one():
    """FLSim's, with a = 0.5 and an average staleness of 1: 1.414214, 1, 0.816497, 0.707107, 0.632456."""
    schedule, tau = Buffered(average_staleness=1.0), torch.arange(5)
    found = schedule.gain(7.0) * schedule.weights(tau, tau)
    assert found.tolist() == pytest.approx([1.414214, 1, 0.816497, 0.707107, 0.632456], abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"), [("equal", [1, 1]), ("linear", [9, 99]), ("sqrt", [3, 99**0.5]), ("log10", [1, 2])]
)
def test_weights_by_examples(kind, expected):
    schedule = Buffered(example_weight=kind)
    found = schedule.weights(torch.zeros(2, dtype=torch.int64), torch.tensor([9, 99]))
    assert found.tolist() == pytest.approx(expected)
    assert schedule.bounded is (kind == "equal")


def test_a_sum_is_the_mean_times_the_messages():
    """The second script with sums: steps of 2, 2 and 1 + 3^-0.5."""
    found = by_the_engine(*SECOND, 3, {"buffer_size": 2, "concurrency": 9, "reduction": "sum", **CLOCK})
    assert [x for _, x, _ in found] == pytest.approx([2, 4, 5 + 3**-0.5], abs=1e-5)


def test_a_full_buffer_without_staleness_is_fedavg_to_the_last_bit(small):
    buffered = PluginSpec("buffered", {"buffer_size": 8, "concurrency": 8})
    for changes in ({}, {"defense": PluginSpec("median"), "codec": PluginSpec("terngrad")}):
        one, two = (prepare(small(schedule=s, **changes)) for s in (PluginSpec("synchronous"), buffered))
        for a, b in zip(one.steps(one.serial_pool()), two.steps(two.serial_pool()), strict=True):
            assert torch.equal(a.state.params, b.state.params)
            assert (a.state.bytes_up, a.state.bytes_down) == (b.state.bytes_up, b.state.bytes_down)


def test_places_that_become_free_are_taken_at_once_and_nobody_is_started_twice(small):
    """Two places, and clients of 1 s: two begin at 0, 1 and 2 s, and the fifth message is there at 3 s."""
    network = PluginSpec("links", {"latency_seconds": 1.0})
    schedule = PluginSpec("buffered", {"buffer_size": 5, "concurrency": 2})
    simulation = prepare(small(network=network, schedule=schedule, rounds=6))
    for step in simulation.steps(simulation.serial_pool()):
        began = step.outcome.began.tolist()
        assert len(set(began)) == len(began)
        if step.outcome.round == 0:
            assert step.state.clock == 3.0
            assert len(began) == 6
            assert len(step.outcome.received) == 5
        waiting = step.state.mailbox.client_ids if step.state.mailbox else []
        assert len(set(waiting)) == len(waiting)


def test_a_client_that_the_network_loses_frees_its_place(small):
    """Without that, two lost messages would end a run with two places."""
    network = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.5, "dropout": 0.4})
    schedule = PluginSpec("buffered", {"buffer_size": 2, "concurrency": 2})
    simulation = prepare(small(network=network, schedule=schedule, rounds=12))
    steps = list(simulation.steps(simulation.serial_pool()))
    assert all(len(step.outcome.received) == 2 for step in steps)
    assert any(not step.outcome.delivery.arrived.all() for step in steps)


BAD = [
    ({"buffer_size": 0}, "buffer_size must be at least 1, got 0"),
    ({"concurrency": 0}, "concurrency must be at least 1"),
    ({"exponent": 1.5}, "exponent must be from 0 to 1"),
    ({"max_staleness": -1}, "max_staleness must be at least 0"),
    ({"starts_by": "poisson"}, "start_rate goes with"),
    ({"start_rate": 2.0}, "start_rate goes with"),
    ({"starts_by": "poisson", "start_rate": 0.0}, "start_rate must be above 0"),
    ({"staleness": "threshold", "average_staleness": 3.0}, "its own weight is 0"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Buffered(**options)


def test_a_buffer_that_the_population_cannot_fill_is_refused(small):
    with pytest.raises(ScenarioError, match=r"9 messages .* 8 clients"):
        prepare(small(schedule=PluginSpec("buffered", {"buffer_size": 9})))


def test_a_rule_that_no_buffer_is_large_enough_for_is_refused_and_others_are_not_warned_of(small):
    """Krum against one attacker needs five rows; everybody is drawn, and no message is lost."""
    krum = PluginSpec("krum", {"num_byzantine": 1})
    with pytest.raises(CohortError, match="needs 5 rows or more, got a cohort of 4"):
        prepare(small(schedule=PluginSpec("buffered", {"buffer_size": 4}), defense=krum))
    fits = {"schedule": PluginSpec("buffered", {"buffer_size": 5}), "defense": krum}
    assert not prepare(small(**fits)).warnings()
    few = PluginSpec("fixed_size", {"cohort_size": 3})
    assert "fewer clients may begin" in " ".join(prepare(small(**fits, sampler=few)).warnings())


def test_an_algorithm_that_needs_everybody_in_every_round_is_refused(small):
    few = PluginSpec("buffered", {"buffer_size": 2})
    with pytest.raises(ScenarioError, match="counts on messages that began in the same round"):
        prepare(small(algorithm=PluginSpec(f"{__file__}:Everybody"), schedule=few))


class Everybody:
    """A procedure that needs every client, from outside."""

    full_participation = True
    mechanisms = ("none",)

    def schedule(self, training):
        return training

    def work(self, visit):
        raise NotImplementedError


@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn"])
def test_messages_that_must_count_alike_are_not_weighed_by_examples(small, algorithm):
    weighing, plain = (
        PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5, "example_weight": how})
        for how in ("linear", "equal")
    )
    alike = {"algorithm": PluginSpec(algorithm), "defense": PluginSpec("mean", {"weighting": "uniform"})}
    with pytest.raises(
        ScenarioError, match="needs all clients to count alike, and schedule 'buffered' weighs"
    ):
        prepare(small(schedule=weighing, **alike))
    if algorithm == "scaffold":  # feddyn's server half takes fresh messages alone
        prepare(small(schedule=plain, **alike))
