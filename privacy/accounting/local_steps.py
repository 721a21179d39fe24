"""What a client's own local steps cost its examples: epsilon over many clients, each with its rate and count.

Source: Mironov, Talwar, Zhang. Renyi Differential Privacy of the Sampled Gaussian Mechanism. 2019, Section
3.3 (whole orders), arXiv:1908.10530. Canonne, Kamath, Steinke. NeurIPS 2020, Proposition 12,
arXiv:2004.00010 (from Renyi to epsilon). Clients hold different examples, so that they compose in parallel:
McSherry. Privacy Integrated Queries. SIGMOD 2009, Theorem 4.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .curves import gaussian_epsilon, pld_epsilon
from .sampled_gaussian import LEAST, least_epsilon
from .sampled_gaussian import ORDERS as CLOSE_ORDERS
from .sampled_gaussian import sampled_curve as close_curve

Array = NDArray[np.float64]
ORDERS: Array = np.array([*range(2, 65), 96, 128, 256, 512, 1024], dtype=np.float64)
_GRID, _FINEST, _REFINED = 1e-4, 1e-6, 1e3  # as in ``accounting``
_MOST = 6  # clients whose epsilon is refined, at the end of a run a second each


@lru_cache(maxsize=1024)
def sampled_curve(s: float, rate: float) -> Array:
    """Return the Renyi divergence of one Poisson-sampled Gaussian step at every order.

    Args:
        s: Noise standard deviation over the sensitivity, above 0.
        rate: Probability of an example in a step, between 0 and 1.
    """
    from scipy.special import gammaln, logsumexp

    if rate >= 1:
        return ORDERS / (2 * s**2)
    k = np.arange(ORDERS[-1] + 1)  # [A]
    a = ORDERS[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        choose = gammaln(a + 1) - gammaln(k + 1) - gammaln(np.maximum(a - k, 0) + 1)
        terms = choose + (a - k) * np.log1p(-rate) + k * np.log(rate) + k * (k - 1) / (2 * s**2)
    curve: Array = logsumexp(np.where(k <= a, terms, -np.inf), axis=1) / (ORDERS - 1)
    return np.maximum(curve, 0.0)


def worst_epsilon(s: float, rates: Array, steps: Array, delta: float, tight: bool) -> tuple[float, str]:
    """Return the largest of the clients' epsilons, and the accountant that proves it.

    Args:
        s: Noise standard deviation over the sensitivity, above 0.
        rates: Probability of an example in one of the client's steps, above 0.  # [M]
        steps: Local steps that the client took.  # [M]
        delta: Between 0 and 1.
        tight: Also compute privacy loss distributions, for about a second a client.
    """
    front = _front(rates, steps)
    bounds = [_live(s, rate, count, delta) for rate, count in front]
    if not bounds:
        return 0.0, "gaussian"
    order = sorted(range(len(front)), key=lambda n: -bounds[n][0])
    refined = (0.0, "gaussian")
    for number, n in enumerate(order):
        if number == _MOST or bounds[n][0] <= refined[0]:
            return max(refined, bounds[n])
        better = min(bounds[n], _closer(s, *front[n], delta))
        if tight:
            better = min(better, (_pld(s, *front[n], delta, better[0]), "pld"))
        refined = max(refined, better)
    return refined


def _front(rates: Array, steps: Array) -> list[tuple[float, int]]:
    """Return the clients that no other one beats in both rate and steps: epsilon grows with either."""
    kept: list[tuple[float, int]] = []
    pairs = np.unique(np.stack([rates, steps], axis=1), axis=0)
    for rate, count in pairs[::-1].tolist():  # rates descend, and steps where rates are equal
        if not kept or count > kept[-1][1]:
            kept.append((rate, int(count)))
    return kept


def _live(s: float, rate: float, count: int, delta: float) -> tuple[float, str]:
    """Return a client's bound without privacy loss distributions: Renyi, or without sampling, exact."""
    exact = gaussian_epsilon(count / s**2, delta)
    if rate >= 1:
        return exact, "gaussian"
    curve = count * sampled_curve(s, rate)
    with np.errstate(over="ignore", invalid="ignore"):
        found = curve + np.log1p(-1 / ORDERS) - (np.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    renyi = float(np.nanmin(np.where(np.isfinite(found), found, np.inf)))
    return min((exact, "gaussian"), (max(renyi, 0.0), "rdp"))


def _closer(s: float, rate: float, count: int, delta: float) -> tuple[float, str]:
    """Return a client's Renyi bound over orders that lie close together; infinity where there is none."""
    if rate >= 1 or s < LEAST:
        return float("inf"), "rdp"
    return least_epsilon(CLOSE_ORDERS, count * close_curve(s, rate, False), delta), "rdp"


@lru_cache(maxsize=128)
def _pld(s: float, rate: float, count: int, delta: float, known: float) -> float:
    """Return the bound by privacy loss distributions; ``known`` where it would not be worth the time."""
    if rate >= 1 or not 0 < known <= _REFINED:
        return known
    charge = ("poisson", s, rate, 0, count)
    return pld_epsilon([charge], delta, max(_GRID * known, _FINEST))
