"""What plug-ins of the server hand back is looked at: nothing counts before it is there, nobody begins twice,
no cohort is charged by a chance that there is not."""

import numpy as np
import pytest

from gauntlet.core.contracts import Arrivals, Delivery, Sampling, Starts, Traffic
from gauntlet.core.errors import PluginError
from gauntlet.core.server_replies import arrived, begun, delivered, sampled, sampling

# clients 3 and 5 are at work, whose messages arrive at 2 and never; 3, 5 and 8 may take part
TRAFFIC = Traffic(
    round=1,
    now=1.0,
    drawn=np.array([3, 5, 8]),
    client_ids=np.array([3, 5]),
    started=np.array([0, 1]),
    begins=np.array([0.5, 1.0]),
    arrives=np.array([2.0, np.inf]),
    waits=np.array([4.0, 4.0]),
)


def arrivals(counted, dropped, at):
    return Arrivals(np.array(counted), np.array(dropped), at), None


def test_what_arrives_by_the_end_may_count_and_what_does_not_may_be_dropped():
    arrived(arrivals([True, False], [False, True], 2.0), TRAFFIC)


@pytest.mark.parametrize(
    "came",
    [
        arrivals([True, False], [False, False], 1.9),  # before it arrives
        arrivals([False, True], [False, False], 9.0),  # it never does
        arrivals([True, False], [True, False], 2.0),  # counted and dropped
        arrivals([False, False], [False, False], 0.9),  # the round ends before it begins
        arrivals([1.0, 0.0], [False, False], 2.0),
        arrivals([True], [False], 2.0),
    ],
)
def test_what_cannot_be_counted_is_refused(came):
    with pytest.raises(PluginError, match="must return"):
        arrived(came, TRAFFIC)


def test_only_idle_clients_begin_and_not_in_the_past():
    begun((Starts(np.array([8]), 1.0), None), TRAFFIC)
    for ids, at in (([3], 1.0), ([9], 1.0), ([8, 8], 1.0), ([8], 0.5)):
        with pytest.raises(PluginError, match="must return"):
            begun((Starts(np.array(ids), at), None), TRAFFIC)


def test_ids_whose_difference_wraps_do_not_ascend():
    """From 1 to -2^63 is -2^63 - 1, which int64 holds as the largest number above 0."""
    sampled(np.array([1, 4]), 5)
    for ids in ([1, -(2**63)], [4, 1], [1, 1], [1, 5]):
        with pytest.raises(PluginError, match="strictly ascending"):
            sampled(np.array(ids), 5)


def delivery(came, seconds, length):
    return Delivery(np.array(came, dtype=bool), np.array(seconds), length)


def test_a_message_that_is_lost_takes_for_ever_and_one_that_arrives_is_there_when_the_round_ends():
    delivered(delivery([True, False], [2.0, np.inf], 2.0), np.zeros(2))
    delivered(delivery([], [], 0.0), np.zeros(0))


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (delivery([True, True], [1.0, -1.0], 2.0), "client_seconds"),
        (delivery([True, False], [1.0, np.nan], 2.0), "client_seconds"),
        (delivery([True, True], [1.0, 2.5], 2.0), "after round_seconds"),
        (delivery([True, True], [1.0, np.inf], 2.0), "after round_seconds"),
    ],
)
def test_a_clock_that_runs_backwards_or_a_message_after_its_round_is_refused(came, words):
    with pytest.raises(PluginError, match=words):
        delivered(came, np.zeros(2))


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (Sampling("poison", 10, 0.5, 5.0), "a scheme, one of poisson, fixed_size"),
        (Sampling("poisson", 10, 1.7, 17.0), "at most 1"),
        (Sampling("poisson", 10, -0.1, 1.0), "at least 0"),
        (Sampling("other", 10, 0.5, 0.0), "above 0"),
    ],
)
def test_a_way_of_sampling_that_no_accountant_knows_is_refused(came, words):
    sampling(Sampling("poisson", 10, 1.0, 10.0), 10)
    with pytest.raises(PluginError, match=words):
        sampling(came, 10)
