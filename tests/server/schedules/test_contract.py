"""What every schedule owes, and that one which owes it still is found out."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Arrivals, Starts
from gauntlet.core.errors import PluginError
from gauntlet.server.schedules import SCHEDULES
from gauntlet.server.schedules.contract import CHECKS
from gauntlet.server.schedules.synchronous import Synchronous

OPTIONS: dict[str, list[dict[str, object]]] = {
    "buffered": [
        {},
        {"buffer_size": 3, "concurrency": 5, "max_staleness": 1},
        {
            "buffer_size": 4,
            "concurrency": 3,
            "starts_by": "poisson",
            "start_rate": 2.0,
            "flush_at_end": False,
        },
        {"buffer_size": 1, "starts_by": "constant", "start_rate": 0.5, "reduction": "sum"},
        {"staleness": "threshold", "cutoff": 1, "late_weight": 0.25, "example_weight": "sqrt"},
    ],
    "fedasync": [{}, {"concurrency": 4, "max_staleness": 2, "staleness": "hinge", "cutoff": 1}],
    "deadline": [{"seconds": 2.0}, {"seconds": 1000.0}],
    "over_select": [{"goal": 1}, {"goal": 12}, {"goal": 100}],
    "bursty": [{}, {"burst": 2, "window": 5, "most_late": 20, "slack": 0.5}],
    "quorum": [{}, {"slack": 0.0}, {"slack": 0.5, "most_late": 10}],
}
CASES = [(name, options) for name in SCHEDULES.table for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_schedule(name, options, check):
    check(SCHEDULES.build(name, options))


@dataclass
class Broken:
    """The synchronous schedule with something else in one place."""

    starting: Any = None
    arriving: Any = None
    weights: Any = None
    size: Any = None
    bounded: bool = True
    plain: bool = False
    fresh: bool = False

    def __post_init__(self):
        for name in ("weights", "size"):
            if getattr(self, name) is None:
                delattr(self, name) if name in vars(self) else None

    def init(self):
        return None

    def starts(self, traffic, state, generator):
        found, state = Synchronous().starts(traffic, state, generator)
        return (self.starting(traffic, found) if self.starting else found), state

    def arrivals(self, traffic, state):
        found, state = Synchronous().arrivals(traffic, state)
        return (self.arriving(traffic, found) if self.arriving else found), state


def count_all(traffic, found):
    return Arrivals(np.ones_like(found.counted), np.zeros_like(found.counted), found.at)


def into(traffic, found):
    traffic.arrives[:] -= 0.001
    return found


def unseeded(traffic, found):
    ids = found.client_ids
    return Starts(ids[: np.random.default_rng().integers(1, len(ids) + 1)], found.at) if len(ids) else found


def first_five(traffic, found):
    return replace(found, client_ids=found.client_ids[: 5 if len(traffic.client_ids) == 0 else 0])


def late_ones_next_time(traffic, found):
    now = traffic.started < traffic.round
    return replace(found, counted=found.counted & now, dropped=found.dropped & now)


IDLE, CLOCK, ARRIVED, COUNT, SIZE, FRESH, WEIGHTS, SAME = (check.__name__ for check in CHECKS)
BROKEN = [
    (IDLE, {"starting": lambda t, s: replace(s, client_ids=t.drawn)}, "are not idle"),
    (IDLE, {"starting": lambda t, s: replace(s, client_ids=s.client_ids[::-1])}, "ascend"),
    (CLOCK, {"starting": lambda t, s: replace(s, at=t.now - 1.0)}, "begin at -1"),
    (CLOCK, {"arriving": lambda t, a: replace(a, at=np.inf)}, "ends at inf"),
    (ARRIVED, {"arriving": count_all}, "or never"),
    (ARRIVED, {"arriving": lambda t, a: replace(a, at=t.now)}, "after the end"),
    (ARRIVED, {"arriving": lambda t, a: replace(a, dropped=a.counted)}, "is dropped"),
    (COUNT, {"arriving": lambda t, a: replace(a, counted=a.dropped & False)}, "no message counts"),
    (SIZE, {"size": lambda drawn: 3.0}, "40 messages count, and size is 3"),
    (SIZE, {"size": lambda drawn: drawn}, "at least 1 where 0.3 clients are expected, got 0.3"),
    (SIZE, {"plain": True, "starting": first_five}, "plain: not all"),
    (FRESH, {"fresh": True, "arriving": late_ones_next_time}, "in round 1 that began in 0"),
    (WEIGHTS, {"weights": lambda tau, n: 1.0 + tau.double()}, "bounded by 1"),
    (WEIGHTS, {"weights": lambda tau, n: tau}, "expected float64"),
    (WEIGHTS, {"weights": lambda tau, n: -tau.double()}, "weights are"),
    (SAME, {"starting": unseeded}, "two answers"),
    (SAME, {"arriving": into}, "wrote into"),
]


@pytest.mark.parametrize(("name", "changes", "complaint"), BROKEN)
def test_a_schedule_that_breaks_a_check_is_found_out(name, changes, complaint):
    check = {c.__name__: c for c in CHECKS}[name]
    check(Broken())
    with pytest.raises(PluginError, match=complaint):
        check(Broken(**changes))


def test_every_check_has_a_schedule_that_breaks_it():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}


def test_weights_of_a_schedule_without_any_are_no_fault():
    check = {c.__name__: c for c in CHECKS}["weighs_what_is_stale_no_more"]
    check(Synchronous())
    check(Broken(weights=lambda tau, n: torch.ones(len(tau), dtype=torch.float64)))
