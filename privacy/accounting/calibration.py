"""From the epsilon that a run may cost to the noise that it needs.

Source: root finding on the accountants of ``curves``; for one Gaussian this is Algorithm 1 of Balle, Wang.
Improving the Gaussian Mechanism for Differential Privacy. ICML 2018, arXiv:1805.06530
"""

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from math import exp, isfinite, log
from typing import Any, TypeVar, cast

import numpy as np
import torch

from ...core.contracts import Release, Sampling
from ...core.declarations import Mechanisms, declared, declares, works_in_steps
from . import RELATIONS, Accountant, charging_rule, spent
from .curves import EXCHANGED, gaussian_epsilon
from .local_steps import worst_epsilon

M = TypeVar("M")
_PRECISION = 1e-4  # of log z


@lru_cache(maxsize=256)  # a sweep asks for the same budget in run after run, for seconds each
def noise_multiplier_for(
    epsilon: float,
    delta: float,
    sampling: Sampling,
    rounds: int,
    relation: str = "add_remove",
    amplified: bool = True,
) -> float:
    """Return the least noise multiplier z with which a whole run costs no more than ``epsilon``.

    Without amplification it is not known beforehand how often the busiest client will take part, so the
    noise suffices for one that takes part in every round.

    Args:
        epsilon: The budget, above 0.
        delta: The probability that it may fail, between 0 and 1.
        sampling: How cohorts will be drawn.
        rounds: Rounds of the run, at least 1.
        relation: ``"add_remove"``, ``"zero_out"`` or ``"replace_one"``.
        amplified: Whether the secrecy of the sample may count.

    Raises:
        ValueError: A value out of its range, or a relation that this sampling cannot prove anything for.
    """
    _check(epsilon, delta, rounds)
    rule = charging_rule(Release(1.0, relation, amplified), sampling)
    if rule is None:
        raise ValueError(_unprovable(sampling, relation))

    def cost(z: float) -> float:
        s = z / 2 if relation == "replace_one" else z
        charge = (
            EXCHANGED if rule == EXCHANGED else sampling.scheme,
            s,
            sampling.sample_rate,
            sampling.num_clients,
            rounds,
        )
        busiest = torch.tensor([rounds / s**2], dtype=torch.float64)
        return min(spent(rule, (charge,), busiest, delta, tight=True).values())

    return _least(cost, epsilon)


def _check(epsilon: float, delta: float, rounds: int) -> None:
    if not (isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be finite and above 0, got {epsilon}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")


def _unprovable(sampling: Sampling, relation: str) -> str:
    return (
        f"no guarantee holds for sampling {sampling.scheme!r} with relation {relation!r}; allowed: "
        "poisson and full with any relation, fixed_size with zero_out or replace_one, others with zero_out; "
        "noise that is not Gaussian allows no replace_one under poisson and fixed_size"
    )


def _least(cost: Callable[[float], float], epsilon: float) -> float:
    """Return the least z, to ``_PRECISION`` in log z, with cost(z) at most ``epsilon``."""
    from scipy.optimize import brentq

    too_little = cost(1.0) > epsilon
    step, z = (2.0 if too_little else 0.5), 1.0
    while (cost(z * step) > epsilon) == too_little:
        z *= step
    low, high = sorted((z, z * step))
    z = exp(brentq(lambda x: log(max(cost(exp(x)), 1e-300) / epsilon), log(low), log(high), xtol=_PRECISION))
    while cost(z) > epsilon:  # the upper end: never more than the budget
        z *= 1 + _PRECISION
    return z


def worst_precision(mixings: Iterable[tuple[float, ...]], separation: int) -> float:
    """Return what the busiest client spends, at z = 1, if each takes part every ``separation`` rounds.

    The sum over the releases of (the sum of the client's factors)^2, for the worst of its first rounds.
    """
    spent_by_first = np.zeros(separation)
    for round_, mixing in enumerate(mixings):
        rounds = np.arange(round_ - len(mixing) + 1, round_ + 1)
        sums = np.bincount(rounds % separation, weights=np.abs(mixing), minlength=separation)
        spent_by_first += sums**2
    return float(spent_by_first.max())


def fitted(
    mechanism: M, sampling: Sampling, rounds: int, num_parameters: int | None = None, amplified: bool = True
) -> M:
    """Return ``mechanism`` with the run's ``rounds`` and ``num_parameters`` where it leaves them open.

    ``amplified``: see ``calibrate``.

    Raises:
        ValueError: It asks for what this sampling does not promise, or cannot prove anything with it.
    """
    _refuse_relation(mechanism, sampling, amplified)
    _refuse_participation(mechanism, sampling, rounds)
    if not is_dataclass(mechanism):
        return mechanism
    known = {"rounds": rounds, "num_parameters": num_parameters}
    names = {f.name for f in fields(mechanism)} & known.keys()
    missing = {n: known[n] for n in names if getattr(mechanism, n) is None and known[n] is not None}
    return cast(M, replace(cast(Any, mechanism), **missing)) if missing else mechanism


def _refuse_relation(mechanism: object, sampling: Sampling, amplified: bool) -> None:
    trust, relation = declared(mechanism, Mechanisms.trust_model), declared(mechanism, Mechanisms.relation)
    if trust not in ("central", "distributed") or relation not in RELATIONS or relation == "add_remove":
        return  # add_remove with cohorts that others fill runs without a guarantee, and its tables say so
    law = declared(mechanism, Mechanisms.noise_law)
    if charging_rule(Release(1.0, relation, amplified and trust == "central", law), sampling) is None:
        raise ValueError(_unprovable(sampling, relation))


def _refuse_participation(mechanism: object, sampling: Sampling, rounds: int) -> None:
    apart = declared(mechanism, Mechanisms.min_separation)
    if sampling.min_separation < apart and rounds > 1:
        raise ValueError(
            f"a client's rounds must be at least {apart} apart, and sampling {sampling.scheme!r} promises "
            f"{sampling.min_separation}; use sampler round_robin with a period of at least {apart}"
        )
    most, allowed = -(-rounds // sampling.min_separation), declared(mechanism, Mechanisms.max_participations)
    if allowed is not None and most > allowed:
        raise ValueError(
            f"a client may take part in at most {allowed} rounds, and sampling {sampling.scheme!r} allows "
            f"{most} of {rounds}; use sampler round_robin with a period of at least {-(-rounds // allowed)}"
        )


def calibrate(
    mechanism: M, sampling: Sampling, rounds: int, num_parameters: int | None = None, amplified: bool = True
) -> M:
    """Return ``mechanism`` with the noise that its ``epsilon`` needs; one without such a wish as it is.

    The result holds ``noise_multiplier`` in place of ``epsilon``. ``amplified`` says whether the secrecy of
    the sample may count, where the mechanism would have it count.

    Raises:
        ValueError: As ``noise_multiplier_for`` and ``fitted``.
    """
    mechanism = fitted(mechanism, sampling, rounds, num_parameters, amplified)
    epsilon = declared(mechanism, Mechanisms.epsilon)
    fits = is_dataclass(mechanism) and declares(mechanism, Mechanisms.noise_multiplier)
    if epsilon is None or not fits or declared(mechanism, Mechanisms.noise_multiplier) is not None:
        return mechanism
    if works_in_steps(mechanism):
        raise ValueError(
            "epsilon asks for how many examples each client holds: give noise_multiplier instead"
        )
    delta = declared(mechanism, Mechanisms.delta) or 0.0
    given = replace(cast(Any, mechanism), noise_multiplier=1.0, epsilon=None)
    mixings = declared(given, Mechanisms.mixings)
    event = given.event(given.clip_norm / sampling.expected_size, sampling.expected_size, given.init())
    if mixings is not None:
        worst = worst_precision(mixings(rounds), sampling.min_separation)
        _check(epsilon, delta, rounds)
        z = _least(lambda z: gaussian_epsilon(worst / z**2, delta), epsilon)
    elif isinstance(event, Release) and event.noise != "gaussian":
        z = _least(lambda z: _shaped_cost(replace(given, noise_multiplier=z), sampling, rounds), epsilon)
    else:
        relation = declared(mechanism, Mechanisms.relation)
        amplified = amplified and declared(mechanism, Mechanisms.trust_model) == "central"
        z = noise_multiplier_for(epsilon, delta, sampling, rounds, relation, amplified)
    return cast(M, replace(cast(Any, mechanism), noise_multiplier=z, epsilon=None))


def calibrate_steps(mechanism: M, rates: Any, steps: Any, rounds: int) -> M:
    """Return a mechanism for examples with the noise that its ``epsilon`` needs.

    Args:
        mechanism: One that works in local steps; without a wish for epsilon it stays as it is.
        rates: Probability of an example in a local step, of every client.  # [N]
        steps: Each client's local steps in a round.  # [N]
        rounds: Rounds in which a client takes part at most, at least 1.
    """
    given = cast(Any, mechanism)
    if given.noise_multiplier is not None:
        return mechanism
    _check(given.epsilon, given.delta, rounds)
    rates, total = np.asarray(rates, dtype=np.float64), rounds * np.asarray(steps, dtype=np.float64)
    z = _least(lambda z: worst_epsilon(z, rates, total, given.delta, tight=True)[0], given.epsilon)
    return cast(M, replace(given, noise_multiplier=z, epsilon=None))


def _shaped_cost(mechanism: Any, sampling: Sampling, rounds: int) -> float:
    """Return what a run of a mechanism whose noise is not Gaussian costs a client of every round."""
    accountant = Accountant(mechanism.delta, sampling.num_clients)
    size = sampling.expected_size
    state = accountant.charge(
        mechanism.event(mechanism.clip_norm / size, size, mechanism.init()), sampling, [0], accountant.init()
    )
    if not state["shapes"]:
        return float("inf")
    ((noise, shape, rate, _),) = state["shapes"]
    busiest = -(-rounds // sampling.min_separation) * state["precisions"]
    state = {**state, "shapes": ((noise, shape, rate, rounds),), "precisions": busiest}
    value = accountant.epsilon(state, tight=True).value
    return float("inf") if value is None else value
