"""What releases cost: pure functions from noise and sampling to epsilon.

Source: Balle, Wang. Improving the Gaussian Mechanism for Differential Privacy. ICML 2018, Theorem 8,
arXiv:1805.06530 (exact Gaussian). Poisson sampling: as in ``sampled_gaussian``. Wang, Balle,
Kasiviswanathan. Subsampled Renyi Differential Privacy and Analytical Moments Accountant. AISTATS 2019,
Theorem 27, arXiv:1808.00087 (without replacement). Doroshenko, Ghazi, Kamath, Kumar, Manurangsi. Connect the
Dots. PETS 2022, arXiv:2207.04380 (privacy loss distributions).

``s`` is always the noise standard deviation over the sensitivity under the relation that is accounted:
half the noise multiplier where one client is exchanged for another.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import expm1, log, sqrt

import numpy as np

from .sampled_gaussian import LEAST, ORDERS, Array, least_epsilon, sampled_curve

Charge = tuple[str, float, float, int, int]
"""Equal rounds: the sampling (``"poisson"``, ``EXCHANGED`` or ``"fixed_size"``), s, q, N, and how many."""

EXCHANGED = "poisson replace_one"
"""Poisson sampling where neighbours exchange one client for another."""

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
    curves = [(_rdp_curve(*charge[:-1]), charge[-1]) for charge in charges]
    if not curves:
        return 0.0
    orders = curves[0][0][0]
    return least_epsilon(orders, np.sum([count * curve for (_, curve), count in curves], axis=0), delta)


@lru_cache(maxsize=256)
def _rdp_curve(kind: str, s: float, rate: float, clients: int) -> tuple[Array, Array]:
    """Return (orders, Renyi divergence of one round at each), which rounds multiply."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    exchanged = kind == EXCHANGED
    if exchanged or kind == "poisson":
        z = 2 * s if exchanged else s
        return ORDERS, sampled_curve(z, rate, exchanged) if z >= LEAST else np.full(len(ORDERS), np.inf)
    accountant = RdpAccountant(_WHOLE_ORDERS, dp_accounting.NeighboringRelation.REPLACE_ONE)
    gaussian = dp_accounting.GaussianDpEvent(s)
    with _quiet(), np.errstate(all="ignore"):
        accountant.compose(
            dp_accounting.SampledWithoutReplacementDpEvent(clients, round(rate * clients), gaussian)
        )
    return np.asarray(accountant.orders, dtype=np.float64), np.asarray(accountant.rdp, dtype=np.float64)


def pld_epsilon(charges: Iterable[Charge], delta: float, interval: float) -> float:
    """Return an upper bound on epsilon by privacy loss distributions; Poisson charges only.

    Args:
        charges: What was released.
        delta: Between 0 and 1.
        interval: Step of the grid of privacy losses: smaller is tighter and slower.
    """
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    charges, relations = tuple(charges), dp_accounting.NeighboringRelation
    exchanged = bool(charges) and charges[0][0] == EXCHANGED  # all are, or none is
    # Zeroing one client's update costs the same as leaving it out.
    relation = relations.REPLACE_ONE if exchanged else relations.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(relation, value_discretization_interval=interval)
    with _quiet(), np.errstate(all="ignore"):
        for _, s, rate, _, count in charges:
            gaussian = dp_accounting.GaussianDpEvent(
                2 * s if exchanged else s
            )  # it doubles the distance itself
            accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, gaussian), count)
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
