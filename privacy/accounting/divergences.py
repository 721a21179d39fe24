"""What one release of noise that is not Gaussian costs: Renyi divergences, and from them epsilon.

Source: Mironov. Renyi Differential Privacy. CSF 2017, Proposition 6, arXiv:1702.07476 (Laplace). Agarwal,
Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning. NeurIPS 2021,
arXiv:2110.04995 (Skellam). Kairouz, Liu, Steinke. The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation. ICML 2021, arXiv:2102.06387 (sums of discrete Gaussians). Zhu, Wang.
Poisson Subsampled Renyi Differential Privacy. ICML 2019 (amplification of any curve). Canonne, Kamath,
Steinke. NeurIPS 2020, Proposition 12, arXiv:2004.00010 (from Renyi to epsilon). The two integer formulas
were read in the code that the authors published with their papers.

A curve is the divergence at every order of ``ORDERS``.

| noise | shape |
|---|---|
| laplace | (scale over L1 sensitivity) |
| skellam | (L2 sensitivity, L1 sensitivity, variance), in grid steps |
| discrete_gaussian | (L2, L1 sensitivity, both over the sum's noise standard deviation; tau; dimension) |
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import exp, isfinite, log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""The Renyi divergence at every order.  # [orders]"""

Shape = tuple[str, tuple[float, ...], float, int]
"""Equal rounds: the noise, its shape, q, and how many rounds."""

ORDERS: Curve = np.array([*range(2, 129), 256, 512, 1024], dtype=np.float64)
NOISES = ("laplace", "skellam", "discrete_gaussian")


def laplace_curve(scale: float) -> Curve:
    """Return the curve of Laplace noise of ``scale`` sensitivities."""
    a = ORDERS
    rises = (a - 1) / scale + np.log(a / (2 * a - 1))
    falls = -a / scale + np.log((a - 1) / (2 * a - 1))
    return np.asarray(np.logaddexp(rises, falls) / (a - 1))


def skellam_curve(l2: float, l1: float, variance: float) -> Curve:
    """Return the curve of Skellam noise of ``variance`` on integers, for sensitivities in grid steps."""
    a = ORDERS
    one = ((2 * a - 1) * l2**2 + 6 * l1) / (4 * variance**2)
    other = 3 * l1 / (2 * variance)
    return np.asarray(a * l2**2 / (2 * variance) + np.minimum(one, other))


def discrete_gaussian_curve(l2: float, l1: float, tau: float, dimension: float) -> Curve:
    """Return the curve of a sum of discrete Gaussians; ``tau`` tells how far it is from being one."""
    a = ORDERS
    first = a / 2 * l2**2 + tau * dimension
    second = a / 2 * (l2**2 + 2 * l1 * tau + tau**2 * dimension)
    third = a / 2 * (l2 + dimension**0.5 * tau) ** 2
    return np.asarray(np.minimum(np.minimum(first, second), third))


_CURVES: dict[str, Callable[..., Curve]] = {
    "laplace": laplace_curve,
    "skellam": skellam_curve,
    "discrete_gaussian": discrete_gaussian_curve,
}


@lru_cache(maxsize=256)
def curve_of(noise: str, shape: tuple[float, ...], rate: float = 1.0) -> Curve:
    """Return the curve of one release, amplified by Poisson sampling at ``rate`` below 1."""
    with np.errstate(all="ignore"):  # too little noise: no finite bound
        curve = _CURVES[noise](*shape)
        return curve if rate >= 1 else amplified(curve, rate)


def amplified(curve: Curve, rate: float) -> Curve:
    """Return ``curve`` after Poisson sampling: the bound of Zhu and Wang for any mechanism.

    It needs the divergence at every whole order below; where ``ORDERS`` has gaps, the one at the next order
    above stands in, since divergences grow with the order.
    """
    whole = np.arange(int(ORDERS[-1]) + 1, dtype=np.float64)
    dense = curve[np.searchsorted(ORDERS, np.maximum(whole, 2))]  # at orders 0, 1, 2, ...
    bounds = [_amplified_at(int(a), dense, rate) for a in ORDERS]
    least: Curve = np.minimum(np.array(bounds), curve)
    return least


def _amplified_at(order: int, dense: Curve, q: float) -> float:
    from scipy.special import gammaln, logsumexp

    first = (order - 1) * log1p(-q) + log(order * q - q + 1)
    l = np.arange(2, order + 1, dtype=np.float64)  # noqa: E741 (the paper's letter)
    choose = gammaln(order + 1) - gammaln(l + 1) - gammaln(order - l + 1)
    terms = choose + (order - l) * log1p(-q) + l * log(q) + (l - 1) * dense[2 : order + 1]
    terms[1:] += log(3.0)
    return float(logsumexp(np.concatenate([[first], terms]))) / (order - 1)


def epsilon_from(curve: Curve, delta: float) -> float:
    """Return the epsilon that a curve proves at ``delta``."""
    a = ORDERS
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = curve + np.log((a - 1) / a) - (log(delta) + np.log(a)) / (a - 1)
    finite = bounds[np.isfinite(bounds)]
    return max(float(finite.min()), 0.0) if len(finite) else float("inf")


def shaped_epsilons(
    shapes: Iterable[Shape], busiest: float | None, delta: float, tight: bool
) -> dict[str, float]:
    """Return the valid bounds on epsilon by the accountant's name.

    Args:
        shapes: What was released.
        busiest: Rounds of the busiest client, without amplification; None under Poisson sampling, where
            every round counts at its rate.
        delta: Between 0 and 1.
        tight: Also compute privacy loss distributions, where there are any (Laplace).
    """
    rounds = [(noise, shape, rate if busiest is None else 1.0, count) for noise, shape, rate, count in shapes]
    if not rounds:
        return {"rdp": 0.0}
    curves = [(curve_of(noise, shape, rate), count) for noise, shape, rate, count in rounds]
    if busiest is None:
        total = np.sum([count * curve for curve, count in curves], axis=0)
    else:
        total = busiest * np.max([curve for curve, _ in curves], axis=0)
    bounds = {"rdp": epsilon_from(total, delta)}
    if rounds[0][0] == "laplace":
        bounds |= _laplace_bounds(rounds, busiest, delta, tight)
    return bounds


def _laplace_bounds(
    rounds: list[Shape], busiest: float | None, delta: float, tight: bool
) -> dict[str, float]:
    """Return pure epsilons added up and, if ``tight``, the bound by privacy loss distributions."""
    worst = min(shape[0] for _, shape, _, _ in rounds)
    kept = rounds if busiest is None else [("laplace", (worst,), 1.0, round(busiest))]
    pure = sum(count * _pure(shape[0], rate) for _, shape, rate, count in kept)
    if not tight or not isfinite(pure) or pure > 1e3:
        return {"pure": pure}
    return {"pure": pure, "pld": _laplace_pld(tuple(kept), delta, max(1e-4, pure * 1e-5))}


def _pure(scale: float, rate: float) -> float:
    """Return the epsilon at delta 0 of one release, amplified by sampling."""
    return 1 / scale + log(rate + (1 - rate) * exp(-1 / scale))


@lru_cache(maxsize=64)
def _laplace_pld(rounds: tuple[Shape, ...], delta: float, interval: float) -> float:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=interval
    )
    for _, shape, rate, count in rounds:
        event: Any = dp_accounting.LaplaceDpEvent(shape[0])
        accountant.compose(event if rate >= 1 else dp_accounting.PoissonSampledDpEvent(rate, event), count)
    return float(accountant.get_epsilon(delta))


def discrete_gaussian_tau(shares: int, variance: float) -> float:
    """Return how far a sum of ``shares`` discrete Gaussians of ``variance`` each is from being one."""
    return 10 * sum(exp(-2 * np.pi**2 * variance * k / (k + 1)) for k in range(1, shares))
