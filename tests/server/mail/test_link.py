"""Virtual links against seconds counted by hand, in both schedules."""

from dataclasses import replace
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest

from gauntlet.core.contracts import Delivery, NoGuarantee
from gauntlet.core.errors import PluginError
from gauntlet.core.registry import configure
from gauntlet.server.assembly.parts import Parts
from gauntlet.server.assembly.refusals.links import a_link_beside_a_deadline_that_is_not_known
from gauntlet.server.guarantee.release import release_of
from gauntlet.server.mail.link import Link, later
from gauntlet.server.networks.ideal import Ideal
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

BUFFERED = PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5})


def links(num_clients=4, seed=0, own_seed=None, **options):
    options |= {} if own_seed is None else {"seed": own_seed}
    return configure(Link, "link", options).of_clients(num_clients, seed)


def test_seconds_are_both_transfers_and_the_latency_each_way():
    """By hand: 1,000,000 bytes at 8 Mb/s take 1 s, 250,000 at 1 Mb/s 2 s, and 2 x 50 ms."""
    found = links(up_mbps=1.0, down_mbps=8, latency_ms=50.0)
    seconds = found.seconds(np.array([0, 3]), np.array([10**6, 0]), np.array([250_000, 0]))
    np.testing.assert_allclose(seconds, [3.1, 0.1], rtol=1e-12)


def test_a_list_gives_each_client_its_own_and_a_silent_way_takes_no_time():
    """By hand: 1000 bytes are 8000 bits, at 1, 2, 4 and 8 Mb/s; client 4 is a canary beside client 0."""
    found = links(up_mbps=[1.0, 2.0, 4.0, 8.0])
    seconds = found.seconds(np.arange(5), 10**9, np.full(5, 1000))
    np.testing.assert_allclose(seconds, [8e-3, 4e-3, 2e-3, 1e-3, 8e-3], rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "median", "low", "high"),
    [
        ({"law": "uniform", "low": 2.0, "high": 6.0}, 4.0, 2.0, 6.0),
        ({"law": "lognormal", "median": 4.0, "sigma": 1.0}, 4.0, 0.0, inf),
        ({"law": "choice", "values": [1, 4, 9]}, 4.0, 1.0, 9.0),
    ],
    ids=str,
)
def test_laws_draw_once_a_client_from_the_seed(law, median, low, high):
    """The median of 20,000 draws within 3 %; another seed draws others, an own seed the same in every run."""
    one, two = (links(20_000, seed=seed, down_mbps=law).down_mbps for seed in (0, 1))
    assert np.median(one) == pytest.approx(median, rel=0.03)
    assert low <= one.min()
    assert one.max() <= high
    assert not np.array_equal(one, two)
    own = [links(50, seed=seed, down_mbps=law, own_seed=5).down_mbps for seed in (0, 1)]
    np.testing.assert_array_equal(own[0], own[1])


def test_the_logarithm_of_a_lognormal_link_is_normal():
    logs = np.log(links(20_000, down_mbps={"law": "lognormal", "median": 4.0, "sigma": 0.5}).down_mbps / 4)
    assert abs(logs.std() - 0.5) < 5 * 0.5 / np.sqrt(40_000)


def test_a_message_that_its_link_makes_late_misses_the_deadline():
    """By hand: 1, 2 and (lost) infinitely many seconds, and 1.5 on each link, against a deadline of 3."""
    fate = Delivery(np.array([True, True, False]), np.array([1.0, 2.0, inf]), 3.0)
    timed = later(fate, np.full(3, 1.5), 3.0)
    assert timed.arrived.tolist() == [True, False, False]
    assert timed.round_seconds == 3.0
    patient = later(replace(fate, round_seconds=2.0), np.full(3, 1.5), inf)
    assert patient.arrived.tolist() == [True, True, False]
    assert patient.client_seconds.tolist() == [2.5, 3.5, inf]
    assert patient.round_seconds == 3.5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"up_mbps": 0}, "link: up_mbps must be a number from 1e-06 to 1e.09, .*; got 0"),
        ({"down_mbps": -1.0}, "down_mbps must be .*; got -1.0"),
        ({"up_mbps": float("nan")}, "link: option 'up_mbps' is nan: numbers must be finite"),
        ({"up_mbps": True}, "up_mbps must be .*; got True"),
        ({"latency_ms": -0.5}, "latency_ms must be a number from 0 .*; got -0.5"),
        ({"up_mbps": [1.0, 0.0]}, "up_mbps must be .*; got 0.0"),
        ({"up_mbps": "fast"}, "up_mbps must be .*; got 'fast'"),
        ({"up_mbp": 1.0}, "link: unknown option 'up_mbp'; did you mean 'up_mbps'"),
        ({"up_mbps": {"law": "normal"}}, "up_mbps: unknown law 'normal'; did you mean 'lognormal'"),
        ({"up_mbps": {"median": 3.0}}, "up_mbps: unknown law"),
        ({"up_mbps": {"law": "uniform", "low": 0.0, "high": 2.0}}, "up_mbps must be .*; got 0.0"),
        ({"up_mbps": {"law": "uniform", "low": 3.0, "high": 2.0}}, "low must be at most high"),
        (
            {"up_mbps": {"law": "lognormal", "median": 1.0, "sigma": 9.0}},
            "sigma must be from 0 to 5, got 9.0",
        ),
        ({"up_mbps": {"law": "choice", "values": []}}, "values must hold at least one figure"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
    ids=str,
)
def test_figures_out_of_range_are_refused_in_one_line(small, options, complaint):
    with pytest.raises(PluginError, match=complaint) as error:
        prepare(small(link=options))
    assert "\n" not in str(error.value)


def test_a_list_for_other_clients_is_refused(small):
    with pytest.raises(PluginError, match="link: up_mbps lists 2 figures for 8 clients"):
        prepare(small(link={"up_mbps": [1.0, 2.0]}))


class Sometimes:
    """A network that loses messages, and does not say when it gives one up."""

    def deliver(self, examples, bytes_down, bytes_up, generator):
        raise AssertionError("refused before")


def test_a_network_that_does_not_say_when_it_gives_up_goes_with_no_link(small):
    known = Parts(small(link={"up_mbps": 1.0}, network=PluginSpec("links", {"dropout": 0.1})))
    assert a_link_beside_a_deadline_that_is_not_known(known) is None
    unknown = SimpleNamespace(network=Sometimes(), link=known.link, spec=known.spec)
    assert "gives_up_after" in str(a_link_beside_a_deadline_that_is_not_known(unknown))
    assert a_link_beside_a_deadline_that_is_not_known(SimpleNamespace(network=Sometimes(), link=None)) is None


@pytest.mark.parametrize("rows", [True, False], ids=["single updates", "sums"])
def test_a_round_lasts_as_long_as_the_slowest_links_bytes(small, rows):
    """By hand: 8 (bytes down + bytes up) / 10^6 seconds at 1 Mb/s, on client 5 at half of that twice as long.

    Training, and so the model, is that of a run without links.
    """
    speeds = [1.0] * 8
    speeds[5] = 0.5
    spec = small(rows=rows, link={"up_mbps": speeds, "down_mbps": speeds})
    plain, timed = (list(s.steps(s.serial_pool())) for s in map(prepare, (replace(spec, link=None), spec)))
    o = timed[0].outcome
    own = 8e-6 * (o.bytes_down + int(o.bytes_up[0]))
    np.testing.assert_allclose(o.delivery.client_seconds, [own * (2 if i == 5 else 1) for i in range(8)])
    assert timed[-1].state.clock == pytest.approx(3 * 2 * own)
    assert o.link_seconds == pytest.approx(own * 9 / 8)
    assert plain[-1].state.clock == 0.0
    assert bool((plain[-1].state.params == timed[-1].state.params).all())


def test_fewer_bytes_take_less_time_and_buffered_messages_arrive_by_them(small):
    """Under a buffer who counts first is who has the fastest link: clients 0, 1, 2 of 5 that begin."""
    speeds = [8.0, 7.0, 6.0, 1e-2, 1e-2, 1e-2, 1e-2, 1e-2]
    spec = small(
        schedule=PluginSpec("buffered", {"buffer_size": 3, "concurrency": 8}), link={"up_mbps": speeds}
    )
    clocks = []
    for codec in ("identity", "fp16"):
        simulation = prepare(replace(spec, codec=PluginSpec(codec), rounds=1))
        (step,) = simulation.steps(simulation.serial_pool())
        assert step.outcome.sent.client_ids.tolist() == [0, 1, 2]
        assert step.state.clock == pytest.approx(8e-6 * int(step.outcome.bytes_up[2]) / 6.0)
        clocks.append(step.state.clock)
    assert clocks[1] == pytest.approx(clocks[0] / 2, rel=0.05)


def test_when_lengths_follow_from_data_their_times_leave_a_buffer_no_epsilon(small):
    """As for a network's own bandwidth: who counts follows from the length of what clients send."""
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "relation": "zero_out"}
    spec = small(
        schedule=BUFFERED,
        privacy=PluginSpec("gaussian", how),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
        link={"up_mbps": 1.0},
        rounds=1,
    )
    reasons = {}
    for codec in ("identity", "terngrad"):
        simulation = prepare(replace(spec, codec=PluginSpec(codec)))
        (step,) = simulation.steps(simulation.serial_pool())
        reasons[codec] = step.outcome.epsilon.reason
    assert reasons["identity"] != "selection"
    assert reasons["terngrad"] == "selection"


class Closing(Ideal):
    """A network that looks at nobody's data, and counts no message after a second."""

    complete = False
    gives_up_after = 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codec": PluginSpec("topk"), "link": {"up_mbps": 0.05}}, "selection"),
        ({"codec": PluginSpec("topk")}, None),
        ({"link": {"up_mbps": 0.05}}, None),
        ({"codec": PluginSpec("topk"), "link": {"latency_ms": 5.0}}, None),
    ],
    ids=["lengths", "no link", "all alike", "latency"],
)
def test_lengths_that_decide_who_comes_in_time_leave_no_guarantee(small, changes, reason):
    """How long a message is follows from the client's data, and a link makes long ones late."""
    private = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "relation": "zero_out"}
    spec = small(
        privacy=PluginSpec("gaussian", private), defense=PluginSpec("mean", {"weighting": "fixed"}), **changes
    )
    plan = replace(prepare(spec).plan, network=Closing())

    found = release_of(plan, plan.privacy.init(), 0, range(8))

    assert (found.reason if isinstance(found, NoGuarantee) else None) == reason
