"""From the epsilon that a run may cost to the noise that it needs.

Source: root finding on the accountants of ``curves``; for one Gaussian this is Algorithm 1 of Balle, Wang.
Improving the Gaussian Mechanism for Differential Privacy. ICML 2018, arXiv:1805.06530
"""

from dataclasses import is_dataclass, replace
from functools import lru_cache
from math import exp, isfinite, log
from typing import Any, TypeVar, cast

import torch

from ..core.contracts import Release, Sampling, declared
from .accounting import charging_rule, spent

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
    if not (isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be finite and above 0, got {epsilon}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    from scipy.optimize import brentq

    rule = charging_rule(Release(1.0, relation, amplified), sampling)
    if rule is None:
        raise ValueError(
            f"no guarantee holds for sampling {sampling.scheme!r} with relation {relation!r}; allowed: "
            "fixed_size and full with any relation, poisson and other with add_remove or zero_out"
        )

    def cost(z: float) -> float:
        s = z / 2 if relation == "replace_one" else z
        charge = (sampling.scheme, s, sampling.sample_rate, sampling.num_clients, rounds)
        busiest = torch.tensor([rounds / s**2], dtype=torch.float64)
        return min(spent(rule, (charge,), busiest, delta, tight=True).values())

    too_little = cost(1.0) > epsilon
    step, z = (2.0 if too_little else 0.5), 1.0
    while (cost(z * step) > epsilon) == too_little:
        z *= step
    low, high = sorted((z, z * step))
    z = exp(brentq(lambda x: log(max(cost(exp(x)), 1e-300) / epsilon), log(low), log(high), xtol=_PRECISION))
    while cost(z) > epsilon:  # the upper end: never more than the budget
        z *= 1 + _PRECISION
    return z


def calibrate(mechanism: M, sampling: Sampling, rounds: int) -> M:
    """Return ``mechanism`` with the noise that its ``epsilon`` needs; one without such a wish as it is.

    The result holds ``noise_multiplier`` in place of ``epsilon``.

    Raises:
        ValueError: As ``noise_multiplier_for``.
    """
    epsilon = declared(mechanism, "epsilon", None)
    fits = is_dataclass(mechanism) and hasattr(mechanism, "noise_multiplier")
    if epsilon is None or not fits or declared(mechanism, "noise_multiplier", None) is not None:
        return mechanism
    z = noise_multiplier_for(
        epsilon,
        declared(mechanism, "delta", 0.0),
        sampling,
        rounds,
        declared(mechanism, "relation", ""),
        amplified=declared(mechanism, "trust_model", "local") == "central",
    )
    return cast(M, replace(cast(Any, mechanism), noise_multiplier=z, epsilon=None))
