"""Lower bounds on epsilon from what an attacker guessed right: the mathematics of every audit.

Source: Andrew, Kairouz, Oh, Oprea, McMahan, Suriyakumar. One-shot Empirical Privacy Estimation for
Federated Learning. ICLR 2024, arXiv:2302.03098 (cosines of canaries; the correction for the choice of the
threshold is Gauntlet's own). Steinke, Nasr, Jagielski. Privacy Auditing with One (1) Training Run.
NeurIPS 2023, arXiv:2305.08846 (guesses). Jagielski, Ullman, Oprea. Auditing Differentially Private Machine
Learning. NeurIPS 2020, arXiv:2006.07709 (Clopper-Pearson on two samples).
"""

from collections.abc import Callable
from math import exp, expm1, inf, log, log1p, sqrt
from typing import Any

import numpy as np

from ..accounting.curves import gaussian_epsilon

Array = np.ndarray[Any, Any]

_LEAST = 1e-300  # a probability that is bounded from above never counts as less: no bound is infinite


# ---- one run, many canaries: their cosines with what was released ---------------------------------------


def null_tail(cosines: Array, dimension: int) -> Array:
    """Return how likely an unrelated random direction reaches each cosine, exactly.

    A unit vector that is uniform in R^d has (1 + cosine) / 2 ~ Beta((d-1)/2, (d-1)/2) with any fixed one.
    """
    from scipy.special import betainc

    half = (dimension - 1) / 2
    tail: Array = betainc(half, half, (1 - np.clip(cosines, -1.0, 1.0)) / 2)
    return tail


def shared_variance_epsilon(mean: float, std: float, delta: float) -> float:
    """Return the epsilon that tells N(mean, std^2) from N(0, std^2): an estimate, not a bound.

    Args:
        mean: Of the canaries' scores, above that of unseen ones; none of it below 0 counts.
        std: Of the scores of unseen canaries: 1 / sqrt(d) for cosines.
        delta: Between 0 and 1.
    """
    return gaussian_epsilon(max(mean / std, 0.0) ** 2, delta)


def fitted_epsilon(first: tuple[float, float], second: tuple[float, float], delta: float) -> float:
    """Return the exact epsilon between two fitted normal distributions: the paper's estimate.

    Biased up by about 0.5 on a right mechanism, since a fitted variance is never exactly equal.

    Args:
        first: (mean, standard deviation) of one.
        second: Likewise of the other; the larger of both directions counts.
        delta: Between 0 and 1.
    """

    def too_small(epsilon: float) -> bool:
        one_way, back = _log_delta(first, second, epsilon), _log_delta(second, first, epsilon)
        return max(one_way, back) > log(delta)

    if not too_small(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while too_small(high):
        low, high = high, 10 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return high


def _log_delta(first: tuple[float, float], second: tuple[float, float], epsilon: float) -> float:
    """Return ln(P1[ratio > epsilon] - e^epsilon P2[ratio > epsilon]) of two normal distributions."""
    (m1, s1), (m2, s2) = first, second
    a = (s2**-2 - s1**-2) / 2  # the log ratio at y is a y^2 + b y + c
    b = m1 / s1**2 - m2 / s2**2
    c = ((m2 / s2) ** 2 - (m1 / s1) ** 2) / 2 + log(s2 / s1) - epsilon
    root = b * b - 4 * a * c
    if root < 0 or (a == 0 and b == 0):
        return -inf
    q = -(b + (sqrt(root) if b >= 0 else -sqrt(root))) / 2
    if a == 0:
        low, high = (-inf, -c / b) if b > 0 else (-c / b, inf)
    else:
        low, high = sorted((q / a, c / q if q else 0.0))
    gain = _log_mass(low, high, m1, s1, outside=a >= 0)
    loss = epsilon + _log_mass(low, high, m2, s2, outside=a >= 0)
    return gain + log(-expm1(loss - gain)) if loss < gain else -inf


def _log_mass(low: float, high: float, mean: float, std: float, outside: bool) -> float:
    """Return ln P[y < low or y > high] of a normal distribution, or of what lies between."""
    from scipy.special import log_ndtr

    below, above = (low - mean) / std, (high - mean) / std
    if outside:
        return float(np.logaddexp(log_ndtr(below), log_ndtr(-above)))
    if below > 0:  # the thinner tail of both keeps its digits
        below, above = -above, -below
    larger, smaller = float(log_ndtr(above)), float(log_ndtr(below))
    return larger + log1p(-exp(smaller - larger)) if smaller < larger else -inf


def threshold_epsilon(
    scores: Array, false_alarms: Callable[[Array, float], Array], delta: float, alpha: float, corrected: bool
) -> float:
    """Return the lower bound on epsilon from guessing "took part" where a score reaches a threshold.

    Every canary's score is tried as the threshold, and the largest bound counts.

    Args:
        scores: Of the canaries that took part.  # [k]
        false_alarms: From thresholds and a level to upper bounds on the share of unrelated directions that
            reach each, which fail with that probability.
        delta: Between 0 and 1.
        alpha: Probability that the bound may fail, between 0 and 1.
        corrected: Whether the k thresholds share ``alpha`` (Bonferroni). Without, it is the paper's form,
            which exceeds the truth too often: for comparison only.
    """
    from scipy.special import betaincinv

    thresholds, count = np.sort(scores), len(scores)  # [k]
    level = alpha / count if corrected else alpha
    missed = np.arange(count)  # canaries below each threshold
    misses = betaincinv(0.5 + missed, 0.5 + count - missed, 1 - level)  # Jeffreys upper bounds  # [k]
    alarms = np.maximum(false_alarms(thresholds, level), _LEAST)  # [k]
    return _best(np.maximum(misses, _LEAST), alarms, delta)


def _best(misses: Array, alarms: Array, delta: float) -> float:
    """Return the largest epsilon that upper bounds on both errors of a guess refute, at least 0."""
    caught, quiet = 1 - delta - misses, 1 - delta - alarms
    one_way = np.log(np.maximum(caught, _LEAST)) - np.log(alarms)
    back = np.log(np.maximum(quiet, _LEAST)) - np.log(misses)
    return float(max(one_way.max(initial=0.0), back.max(initial=0.0)))


def share_above(unseen: Array, thresholds: Array, level: float) -> Array:
    """Return Jeffreys upper bounds on the chance that an unseen canary reaches each threshold.  # [k]"""
    from scipy.special import betaincinv

    reached = len(unseen) - np.searchsorted(np.sort(unseen), thresholds)
    bound: Array = betaincinv(0.5 + reached, 0.5 + len(unseen) - reached, 1 - level)
    return bound


# ---- one run, every canary in or out by a coin: guesses ----------------------------------------------------


def guesses_epsilon(num_canaries: int, guesses: int, correct: int, delta: float, beta: float) -> float:
    """Return the largest epsilon under which so many right guesses are less likely than ``beta``.

    Args:
        num_canaries: Canaries that tossed a coin (m), guessed at or not.
        guesses: Guesses made (r); abstaining costs nothing.
        correct: Guesses that were right (v), at most ``guesses``.
        delta: Between 0 and 1, or 0.
        beta: Probability that the bound may fail, between 0 and 1.
    """
    if not 0 <= correct <= guesses <= num_canaries:
        raise ValueError(
            f"0 <= correct <= guesses <= num_canaries must hold, got {correct}, {guesses}, {num_canaries}"
        )

    def refuted(epsilon: float) -> bool:
        return guesses_p_value(num_canaries, guesses, correct, epsilon, delta) < beta

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high):
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def guesses_p_value(num_canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Return how likely an (epsilon, delta) mechanism allows so many right guesses, at most."""
    from scipy.stats import binom

    p = 1 / (1 + exp(-epsilon))
    tail = float(binom.sf(correct - 1, guesses, p))
    if delta == 0 or correct == 0:
        return tail
    just_below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, p))  # P[v > Bin >= v - i]
    return tail + 2 * num_canaries * delta * float((just_below / np.arange(1, correct + 1)).max())


# ---- many draws with and without one canary ----------------------------------------------------------------


def two_sample_epsilon(with_it: Array, without: Array, delta: float, alpha: float) -> float:
    """Return the lower bound on epsilon from draws of a statistic with a canary and without.

    The threshold is chosen on one half of the draws; Clopper-Pearson bounds on the other half share
    ``alpha``, so that the bound holds with probability 1 - alpha.

    Args:
        with_it: Independent draws with the canary; larger ones speak for it.  # [n]
        without: Independent draws without.  # [n]
        delta: Between 0 and 1.
        alpha: Between 0 and 1.
    """
    half = len(with_it) // 2
    tried = np.quantile(np.concatenate([with_it[:half], without[:half]]), np.linspace(0.001, 0.999, 999))
    first = [_bounds(with_it[:half], without[:half], t, alpha) for t in tried]
    chosen = max(range(len(tried)), key=lambda i: _best(first[i][0], first[i][1], delta))
    misses, alarms = _bounds(with_it[half:], without[half:], tried[chosen], alpha)
    return _best(misses, alarms, delta)


def _bounds(with_it: Array, without: Array, threshold: float, alpha: float) -> tuple[Array, Array]:
    """Return upper bounds on the shares of (misses [1], false alarms [1]) that fail with ``alpha``."""
    misses = _clopper_pearson(int((with_it <= threshold).sum()), len(with_it), alpha / 2)
    alarms = _clopper_pearson(int((without > threshold).sum()), len(without), alpha / 2)
    return np.array([misses]), np.array([alarms])


def _clopper_pearson(count: int, total: int, alpha: float) -> float:
    from scipy.special import betaincinv

    return 1.0 if count == total else float(betaincinv(count + 1, total - count, 1 - alpha))
