"""What releases cost: pure functions from noise and sampling to epsilon.

Source: Balle, Wang. Improving the Gaussian Mechanism for Differential Privacy. ICML 2018, Theorem 8,
arXiv:1805.06530 (exact Gaussian). Mironov, Talwar, Zhang. Renyi Differential Privacy of the Sampled
Gaussian Mechanism. 2019, arXiv:1908.10530 (Poisson). Wang, Balle, Kasiviswanathan. Subsampled Renyi
Differential Privacy and Analytical Moments Accountant. AISTATS 2019, Theorem 27, arXiv:1808.00087
(without replacement). Canonne, Kamath, Steinke. The Discrete Gaussian for Differential Privacy. NeurIPS
2020, Proposition 12, arXiv:2004.00010 (from Renyi to epsilon). Doroshenko, Ghazi, Kamath, Kumar,
Manurangsi. Connect the Dots. PETS 2022, arXiv:2207.04380 (privacy loss distributions).

``s`` is always the noise standard deviation over the sensitivity under the relation that is accounted:
half the noise multiplier where one client is exchanged for another.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import expm1, log, sqrt
from typing import Any

import numpy as np

Charge = tuple[str, float, float, int, int]
"""Equal rounds: the sampling (``"poisson"`` or ``"fixed_size"``), s, q, N, and how many rounds."""

# Fractional orders take minutes without replacement, and whole ones lose nothing there.
_WHOLE_ORDERS = (*range(2, 65), 96, 128, 256, 512, 1024)


def gaussian_epsilon(precision: float, delta: float) -> float:
    """Return the exact epsilon of Gaussian releases of one client's data, composed.

    Args:
        precision: The sum of 1 / s^2 over the releases.
        delta: Between 0 and 1.
    """
    if precision <= 0:
        return 0.0
    mu = sqrt(precision)
    low, high = 0.0, 1.0
    if gaussian_log_delta(low, mu) <= log(delta):
        return 0.0
    while gaussian_log_delta(high, mu) > log(delta):
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_log_delta(middle, mu) > log(delta) else (low, middle)
    return high


def gaussian_log_delta(epsilon: float, mu: float) -> float:
    """Return the logarithm of delta(epsilon) for a Gaussian whose noise is 1 / mu sensitivities.

    In logarithms, because exp(epsilon) overflows above 709.
    """
    from scipy.special import log_ndtr

    gain = float(log_ndtr(mu / 2 - epsilon / mu))
    loss = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return gain + log(-expm1(min(loss - gain, -1e-300)))


def rdp_epsilon(charges: Iterable[Charge], delta: float) -> float:
    """Return an upper bound on epsilon by Renyi differential privacy; all charges of one sampling."""
    from dp_accounting.rdp import compute_epsilon

    curves = [(_rdp_curve(*charge[:-1]), charge[-1]) for charge in charges]
    if not curves:
        return 0.0
    orders = curves[0][0][0]
    total = sum(count * curve for (_, curve), count in curves)  # [orders]
    with _quiet():
        return float(compute_epsilon(orders, total, delta)[0])


@lru_cache(maxsize=256)
def _rdp_curve(kind: str, s: float, rate: float, clients: int) -> tuple[Any, Any]:
    """Return (orders, Renyi divergence of one round at each), which rounds multiply."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    gaussian = dp_accounting.GaussianDpEvent(s)
    relations = dp_accounting.NeighboringRelation
    if kind == "fixed_size":
        accountant = RdpAccountant(_WHOLE_ORDERS, relations.REPLACE_ONE)
        event = dp_accounting.SampledWithoutReplacementDpEvent(clients, round(rate * clients), gaussian)
    else:
        accountant = RdpAccountant(neighboring_relation=relations.ADD_OR_REMOVE_ONE)
        event = dp_accounting.PoissonSampledDpEvent(rate, gaussian)
    with _quiet(), np.errstate(all="ignore"):
        accountant.compose(event)
    return accountant.orders, accountant.rdp


def pld_epsilon(charges: Iterable[Charge], delta: float, interval: float) -> float:
    """Return an upper bound on epsilon by privacy loss distributions; Poisson charges only.

    Args:
        charges: What was released.
        delta: Between 0 and 1.
        interval: Step of the grid of privacy losses: smaller is tighter and slower.
    """
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    # Zeroing one client's update costs the same as leaving it out.
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(relation, value_discretization_interval=interval)
    with _quiet(), np.errstate(all="ignore"):
        for _, s, rate, _, count in charges:
            event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(s))
            accountant.compose(event, count)
        return float(accountant.get_epsilon(delta))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep dp-accounting from warning about single orders that it leaves out."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
