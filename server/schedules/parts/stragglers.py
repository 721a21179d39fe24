"""When a round ends that leaves stragglers behind."""

from math import inf

from ....core.contracts import Traffic


def ends(traffic: Traffic, slack: float) -> tuple[float, float]:
    """Return when a round ends without its stragglers, and when with all: virtual seconds of the run.

    A client straggles that takes more than 1 + ``slack`` times as long as the fastest one.
    """
    everybody = float(traffic.waits.max(initial=traffic.now))
    fastest = float((traffic.arrives - traffic.begins).min(initial=inf))
    return min(traffic.now + (1 + slack) * fastest, everybody), everybody
