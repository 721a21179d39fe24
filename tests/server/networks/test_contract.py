"""What every network model owes, and that one which owes it still is found out."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gauntlet.core.contracts import Delivery
from gauntlet.core.errors import PluginError
from gauntlet.server.networks import NETWORKS
from gauntlet.server.networks.contract import CHECKS
from gauntlet.server.networks.ideal import Ideal

LINKS = {"latency_seconds": 0.1, "bandwidth_up": 1e4, "bandwidth_down": 1e5, "jitter": 0.5, "dropout": 0.3}
OPTIONS: dict[str, list[dict[str, object]]] = {
    "links": [{}, LINKS, {**LINKS, "policy": "deadline", "deadline_seconds": 0.3}],
    "durations": [{}, {"law": "gaussian", "std": 0.5}, {"law": "exponential", "per_example": True}],
    "bursts": [{}, {"slow": 0.4, "mean_burst": 3.0, "outliers": 0.1}],
    "script": [{"seconds": [[3.0, 1.0, 2.0], [0.5]], "repeat": True}],
    "trace": [{"path": str(Path(__file__).with_name("delays.csv")), "load": 0.5}],
}
CASES = [(name, options) for name in NETWORKS.table for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_network(name, options, check):
    check(NETWORKS.build(name, options))


def network(deliver):
    return SimpleNamespace(deliver=deliver)


def all_at(seconds, length):
    def deliver(examples, bytes_down, bytes_up, stream):
        k = len(examples)
        return Delivery(np.ones(k, dtype=bool), np.full(k, seconds), length)

    return network(deliver)


def one_fate(examples, bytes_down, bytes_up, stream):
    return Delivery(np.ones(1, dtype=bool), np.zeros(1), 0.0)


def unseeded(examples, bytes_down, bytes_up, stream):
    seconds = np.random.default_rng().random(len(examples))
    return Delivery(seconds < 2, seconds, 1.0)


def in_place(examples, bytes_down, bytes_up, stream):
    bytes_up += 4
    return Delivery(np.ones(len(examples), dtype=bool), np.zeros(len(examples)), 0.0)


def besides(own_seconds, **declared):
    return SimpleNamespace(deliver=Ideal().deliver, own_seconds=own_seconds, **declared)


def of_the_first(ids, round_, seed):
    return np.arange(len(ids), dtype=np.float64)


BESIDES = "takes_seconds_that_follow_from_clients_and_rounds"
BROKEN = [
    (BESIDES, besides(of_the_first), "who else begins"),
    (BESIDES, besides(lambda ids, r, s: ids), "own_seconds are int64"),
    (BESIDES, besides(lambda ids, r, s: ids - 1.0), "own_seconds are"),
    (BESIDES, besides(lambda ids, r, s: ids + 1.0, gives_up_after=3.0), "gives up nothing"),
    ("decides_about_every_message", network(one_fate), "arrived is bool"),
    ("decides_about_every_message", all_at(np.float32(1), 1.0), "client_seconds is float32"),
    ("never_runs_the_clock_backwards", all_at(-1.0, 0.0), "below 0"),
    ("never_runs_the_clock_backwards", all_at(np.nan, 0.0), "below 0, or not a number"),
    ("never_runs_the_clock_backwards", all_at(1.0, np.inf), "round_seconds"),
    ("ends_the_round_after_the_last_arrival", all_at(2.0, 1.0), "came at 2.0 s in a round of 1.0 s"),
    ("gives_the_same_fate_for_the_same_stream", network(unseeded), "two outcomes"),
    ("leaves_its_inputs_as_they_were", network(in_place), "wrote to its inputs"),
]


@pytest.mark.parametrize(("name", "broken", "complaint"), BROKEN)
def test_a_network_that_breaks_a_check_is_found_out(name, broken, complaint):
    check = {c.__name__: c for c in CHECKS}[name]
    check(Ideal())
    with pytest.raises(PluginError, match=complaint):
        check(broken)


def test_every_check_has_a_network_that_breaks_it():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}
