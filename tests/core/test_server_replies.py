"""What a schedule hands back is looked at: nothing counts before it is there, and nobody begins twice."""

import numpy as np
import pytest

from gauntlet.core.contracts import Arrivals, Starts, Traffic
from gauntlet.core.errors import PluginError
from gauntlet.core.server_replies import arrived, begun

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
