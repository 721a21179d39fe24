"""What every network model owes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...core.declarations import Networks, declared
from ...core.registry import require
from ...core.seeds import generator

if TYPE_CHECKING:
    from ...core.contracts import Delivery, Network


def _deliver(network: Network, cohort: int, round_: int = 0) -> Delivery:
    examples = 10 + np.arange(cohort, dtype=np.int64) % 7
    bytes_up = 1000 + 100 * np.arange(cohort, dtype=np.int64)
    return network.deliver(examples, 4000, bytes_up, generator(0, "contract", round_))


def decides_about_every_message(network: Network) -> None:
    """For K messages come K booleans and K float64 seconds; also for K = 0 and K = 1."""
    for cohort in (0, 1, 200):
        d = _deliver(network, cohort)
        fits = d.arrived.dtype == bool and d.arrived.shape == (cohort,)
        require(fits, f"arrived is {d.arrived.dtype} {d.arrived.shape}, expected bool ({cohort},)")
        fits = d.client_seconds.dtype == np.float64 and d.client_seconds.shape == (cohort,)
        found = f"{d.client_seconds.dtype} {d.client_seconds.shape}"
        require(fits, f"client_seconds is {found}, expected float64 ({cohort},)")


def never_runs_the_clock_backwards(network: Network) -> None:
    """Seconds are at least 0; the round's length is finite."""
    for t in range(20):
        d = _deliver(network, 50, t)
        require(bool((d.client_seconds >= 0).all()), "client_seconds below 0, or not a number")
        fits = 0 <= d.round_seconds < np.inf
        require(fits, f"round_seconds must be finite and at least 0, got {d.round_seconds}")


def ends_the_round_after_the_last_arrival(network: Network) -> None:
    """No message arrives after the round is over."""
    for t in range(20):
        d = _deliver(network, 50, t)
        last = float(d.client_seconds[d.arrived].max(initial=0.0))
        require(last <= d.round_seconds, f"a message came at {last} s in a round of {d.round_seconds} s")


def gives_the_same_fate_for_the_same_stream(network: Network) -> None:
    """The outcome follows from the arguments alone."""
    for t in range(5):
        one, two = _deliver(network, 50, t), _deliver(network, 50, t)
        same = np.array_equal(one.arrived, two.arrived)
        same &= np.array_equal(one.client_seconds, two.client_seconds)
        require(same and one.round_seconds == two.round_seconds, "equal arguments gave two outcomes")


def takes_seconds_that_follow_from_clients_and_rounds(network: Network) -> None:
    """What clients take besides is float64 [K], finite, at least 0, each client's own, and no deadline's."""
    own = declared(network, Networks.own_seconds)
    if own is None:
        return
    limit = declared(network, Networks.gives_up_after)
    require(limit in (None, np.inf), f"own_seconds need a network that gives up nothing, got {limit}")
    for round_ in range(3):
        ids = np.arange(20, dtype=np.int64)
        found = own(ids, round_, 1)
        fits = found.dtype == np.float64 and found.shape == ids.shape
        require(fits, f"own_seconds are {found.dtype} {found.shape}, expected float64 (20,)")
        require(bool(((found >= 0) & (found < np.inf)).all()), f"own_seconds are {found.tolist()}")
        some = own(ids[5:9], round_, 1)
        require(np.array_equal(some, found[5:9]), "own_seconds follow from who else begins, or from chance")


def leaves_its_inputs_as_they_were(network: Network) -> None:
    """Neither examples nor bytes are written to."""
    examples, bytes_up = np.arange(9), np.arange(9) * 10
    network.deliver(examples, 4000, bytes_up, generator(0, "contract"))
    same = np.array_equal(examples, np.arange(9)) and np.array_equal(bytes_up, np.arange(9) * 10)
    require(same, "deliver wrote to its inputs")


CHECKS: tuple[Callable[[Network], None], ...] = (
    decides_about_every_message,
    never_runs_the_clock_backwards,
    ends_the_round_after_the_last_arrival,
    gives_the_same_fate_for_the_same_stream,
    takes_seconds_that_follow_from_clients_and_rounds,
    leaves_its_inputs_as_they_were,
)
