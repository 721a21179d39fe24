"""How many bits each tensor of a message gets, so that the squared error is least.

Source: reverse water-filling (Cover, Thomas. Elements of Information Theory, Section 10.3.3); for layers of a
model Q-Palette. 2025 (abstract). A quantiser's error is taken as n a 2^(-2 b) for n elements of variance a.
"""

import numpy as np

from .packing import Array


def bit_plan(variances: Array, sizes: Array, mean_bits: float) -> Array:
    """Return the bits of each tensor, at least 0, whose mean over all elements is ``mean_bits``.

    b = B + log2(a) / 2 - sum(n log2(a)) / (2 N); where that is negative 0, and the rest is solved again.
    Where all variances are 0, all get 0.

    Args:
        variances: a of each tensor, at least 0.  # [..., T]
        sizes: n of each tensor.  # [T]
        mean_bits: B, at least 0.
    """
    with np.errstate(divide="ignore"):
        logs = np.log2(variances.astype(np.float64)) / 2
    taken = np.isfinite(logs) & (sizes > 0)  # [..., T]
    budget = mean_bits * sizes.sum()
    bits = np.zeros(logs.shape)
    for _ in range(logs.shape[-1]):
        number = np.maximum((sizes * taken).sum(axis=-1, keepdims=True), 1)
        level = (budget - (sizes * np.where(taken, logs, 0)).sum(axis=-1, keepdims=True)) / number
        bits = np.where(taken, logs + level, 0)
        if (bits >= 0).all():
            break
        taken &= bits > 0
    return np.maximum(bits, 0)


def whole_bits(bits: Array, variances: Array, sizes: Array, mean_bits: float, allowed: Array) -> Array:
    """Return allowed whole numbers of bits that are close to a plan and never above its budget.

    Every tensor gets what is nearest below its bits; what is left of the budget goes where the next allowed
    number lowers the error most for a bit.

    Args:
        bits: A plan.  # [..., T]
        variances, sizes, mean_bits: As it was made with.
        allowed: Ascending, from 0 on.  # [A]
    """
    places = np.searchsorted(allowed, bits, side="right") - 1  # [..., T]
    weights = sizes * variances
    for _ in range(places.shape[-1] * len(allowed)):
        now, after = allowed[places], allowed[np.minimum(places + 1, len(allowed) - 1)]
        costs = sizes * (after - now)
        left = mean_bits * sizes.sum() - (sizes * now).sum(axis=-1, keepdims=True)
        gains = weights * (2.0 ** (-2 * now) - 2.0 ** (-2 * after)) / np.maximum(costs, 1)
        gains = np.where((costs > 0) & (costs <= left), gains, 0)
        best = gains.argmax(axis=-1)[..., None]
        better = np.take_along_axis(gains, best, axis=-1) > 0
        if not better.any():
            break
        raised = np.take_along_axis(places, best, axis=-1) + better
        np.put_along_axis(places, best, raised, axis=-1)
    found: Array = allowed[places]
    return found
