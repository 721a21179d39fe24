"""Networks against durations by hand and golden rounds."""

from math import exp, inf, sqrt

import numpy as np
import pytest

from gauntlet.core.seeds import generator
from gauntlet.server.networks.ideal import Ideal
from gauntlet.server.networks.links import Links


def deliver(network, examples, bytes_down=0, bytes_up=None, round_=0):
    examples = np.array(examples)
    bytes_up = np.zeros(len(examples), dtype=np.int64) if bytes_up is None else np.array(bytes_up)
    return network.deliver(examples, bytes_down, bytes_up, generator(0, "network", round_))


def test_waiting_for_all_takes_the_slowest():
    """Golden: durations 3, 1, 2."""
    d = deliver(Links(compute_seconds_per_example=1.0), [3, 1, 2])
    assert d.client_seconds.tolist() == [3, 1, 2]
    assert d.arrived.tolist() == [True, True, True]
    assert d.round_seconds == 3


@pytest.mark.parametrize(
    ("deadline", "arrived", "length"),
    [(2.5, [0, 1, 1], 2.5), (2.0, [0, 1, 1], 2.0), (9.0, [1, 1, 1], 3.0), (0.5, [0, 0, 0], 0.5)],
)
def test_a_deadline_cuts_the_round(deadline, arrived, length):
    """Golden at 2.5 for durations 3, 1, 2: the round is min(t, max d), and d <= t counts."""
    links = Links(compute_seconds_per_example=1.0, policy="deadline", deadline_seconds=deadline)
    d = deliver(links, [3, 1, 2])
    assert d.arrived.tolist() == [bool(a) for a in arrived]
    assert d.round_seconds == length


def test_seconds_are_compute_and_both_transfers_and_latency():
    """By hand: 0.5 + 10 * 0.02 + 1000 / 2000 + 300 / 100, and 600 / 100 for the second."""
    links = Links(
        latency_seconds=0.5, bandwidth_down=2000, bandwidth_up=100, compute_seconds_per_example=0.02
    )
    d = deliver(links, [10, 10], 1000, [300, 600])
    np.testing.assert_allclose(d.client_seconds, [4.2, 7.2], rtol=1e-12)


def test_jitter_is_log_normal():
    """ln(seconds) has mean ln(2) and standard deviation 0.4, within 5 standard errors."""
    d = deliver(Links(latency_seconds=2.0, jitter=0.4), np.ones(20_000, dtype=np.int64))
    logs = np.log(d.client_seconds / 2.0)
    assert abs(logs.mean()) < 5 * 0.4 / sqrt(20_000)
    assert abs(logs.std() - 0.4) < 5 * 0.4 / sqrt(40_000)
    assert np.median(d.client_seconds) == pytest.approx(2.0, rel=0.02)
    assert d.client_seconds.mean() == pytest.approx(2.0 * exp(0.08), rel=0.02)


def test_drop_outs_come_at_their_probability_and_never_arrive():
    d = deliver(Links(latency_seconds=1.0, dropout=0.3), np.ones(20_000, dtype=np.int64))
    assert abs((~d.arrived).sum() - 6000) < 5 * sqrt(20_000 * 0.21)
    assert (d.client_seconds[~d.arrived] == inf).all()
    assert (d.client_seconds[d.arrived] == 1.0).all()


def test_drop_outs_hold_up_a_deadline_but_not_a_server_that_sees_them_go():
    ones = np.ones(100, dtype=np.int64)
    waits = deliver(Links(latency_seconds=1.0, dropout=0.3), ones)
    timed = deliver(Links(latency_seconds=1.0, dropout=0.3, policy="deadline", deadline_seconds=5.0), ones)
    assert waits.round_seconds == 1.0
    assert timed.round_seconds == 5.0
    assert timed.arrived.tolist() == waits.arrived.tolist()


def test_an_option_that_is_off_does_not_move_the_others_draws():
    """Drop-outs are the same with and without jitter: both always draw."""
    ones = np.ones(200, dtype=np.int64)
    calm, rough = (deliver(Links(dropout=0.5, jitter=j), ones) for j in (0.0, 1.0))
    assert calm.arrived.tolist() == rough.arrived.tolist()


def test_the_ideal_network_takes_no_time():
    d = deliver(Ideal(), [3, 1], 10**9, [10**9, 1])
    assert (d.arrived.tolist(), d.client_seconds.tolist(), d.round_seconds) == ([True, True], [0, 0], 0)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"latency_seconds": -1.0}, "latency_seconds must be at least 0 and finite, got -1.0"),
        ({"bandwidth_up": 0.0}, "bandwidth_up must be above 0 and finite, got 0.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"policy": "deadline"}, "go together, got policy 'deadline' and deadline_seconds None"),
        ({"deadline_seconds": 2.0}, "go together, got policy 'wait_all' and deadline_seconds 2.0"),
        (
            {"policy": "deadline", "deadline_seconds": 0.0},
            "deadline_seconds must be above 0 and finite",
        ),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Links(**options)
