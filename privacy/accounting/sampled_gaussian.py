"""The Renyi divergence of one Poisson-sampled Gaussian release at any order, by quadrature.

Source: Mironov, Talwar, Zhang. Renyi Differential Privacy of the Sampled Gaussian Mechanism. 2019, Theorem
4 (a record is there or not), arXiv:1908.10530. Zhu, Dong, Wang. Optimal Accounting of Differential Privacy
via Characteristic Function. AISTATS 2022, arXiv:2106.08567 (dominating pairs; one record exchanged for
another is a pair of mixtures). Canonne, Kamath, Steinke. NeurIPS 2020, Proposition 12, arXiv:2004.00010.

In units of the sensitivity to one record, with noise std z and sampling rate q:

| relation | P | Q |
|---|---|---|
| there or not | (1 - q) N(0, z^2) + q N(1, z^2) | N(0, z^2) |
| exchanged | (1 - q) N(0, z^2) + q N(1, z^2) | (1 - q) N(0, z^2) + q N(-1, z^2) |

The trapezoidal rule converges exponentially on these integrands: their singularities are pi z^2 off the real
line, so that a step of z^2 / 2 errs by e^-39. The orders lie so close that the least bound on epsilon is
within 0.005 of the one over all orders up to an epsilon of 1,000.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_CLOSE = 1 + np.concatenate(
    [np.geomspace(0.003, 8, 1000), np.geomspace(8.16, 63, 120), np.geomspace(65, 1023, 70)]
)
_COMMON = [*np.arange(11, 109) / 10, *range(11, 65), 96, 128, 192, 256, 384, 512, 768, 1024]
ORDERS: Array = np.unique(np.concatenate([_CLOSE, _COMMON]))
LEAST = 0.05  # noise below which there is no point in a Renyi bound: epsilon is in the hundreds a release
_REACH = 12.0  # standard deviations beyond the outermost peak


@lru_cache(maxsize=256)
def sampled_curve(z: float, rate: float, exchanged: bool) -> Array:
    """Return the divergence of one release at every order of ``ORDERS``.

    Args:
        z: Noise standard deviation over the sensitivity to one record, at least ``LEAST``.
        rate: Probability of a record in the sample, above 0 and at most 1.
        exchanged: Whether neighbours exchange a record for another, or leave one out.
    """
    return np.array([_divergence(float(order), z, rate, exchanged) for order in ORDERS])


def _divergence(order: float, z: float, rate: float, exchanged: bool) -> float:
    step = min(z / 8, z * z / 2)
    low, high = -1.0 - _REACH * z, (2 * order if exchanged else order) + _REACH * z  # where the mass can be
    x = np.linspace(low, high, int((high - low) / step) + 2)  # [points]
    with np.errstate(divide="ignore"):
        out, there = np.log1p(-rate), np.log(rate)
    up = np.logaddexp(out, there + (2 * x - 1) / (2 * z * z))  # log P over N(0, z^2)
    down = np.logaddexp(out, there - (2 * x + 1) / (2 * z * z)) if exchanged else 0.0
    logs = order * up - (order - 1) * down - x * x / (2 * z * z)
    peak = float(logs.max())
    total = float(np.exp(logs - peak).sum()) * (x[1] - x[0]) / (z * np.sqrt(2 * np.pi))
    return max((peak + float(np.log(total))) / (order - 1), 0.0)


def least_epsilon(orders: Array, curve: Array, delta: float) -> float:
    """Return the least epsilon that Renyi divergences [orders] prove at ``delta``, infinity where none."""
    with np.errstate(all="ignore"):
        bounds = curve + np.log1p(-1 / orders) - (np.log(delta) + np.log(orders)) / (orders - 1)
        bounds[delta**2 + np.expm1(-curve) > 0] = 0.0  # by the Kullback-Leibler divergence, which is smaller
    known = bounds[np.isfinite(bounds)]
    return max(float(known.min()), 0.0) if len(known) else float("inf")
