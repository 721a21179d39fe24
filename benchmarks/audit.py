"""What an audit says of releases of known epsilon: sums of 1,000 canaries plus Gaussian noise, 20 seeds.

Usage: audit.py [SEEDS]. Releases of 100,000 coordinates, delta = 1e-6, alpha = 0.05. Prints a Markdown table:
mean and standard deviation of the estimates, mean of the lower bounds, and how many bounds exceed the truth.
"""

from math import sqrt

import numpy as np
from asked import words

from gauntlet.core.seeds import generator
from gauntlet.privacy.audits.auditing import (
    fitted_epsilon,
    null_tail,
    shared_variance_epsilon,
    threshold_epsilon,
)

SIZE, CANARIES, DELTA, ALPHA = 100_000, 1000, 1e-6, 0.05
TRUTH = {4.22: 1.0012, 1.54: 3.0084, 0.541: 10.0019}  # epsilon by the noise's standard deviation
_BLOCK = 100


def cosines(seed: int) -> list[np.ndarray]:
    """Return the canaries' cosines with a release, for every standard deviation.  # [CANARIES] each"""
    stream = generator(seed, "audited releases")
    blocks = [stream.standard_normal((_BLOCK, SIZE), dtype=np.float32) for _ in range(CANARIES // _BLOCK)]
    for block in blocks:
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    signal = sum(block.sum(axis=0, dtype=float) for block in blocks)
    released = [signal + std * stream.standard_normal(SIZE) for std in TRUTH]
    units = [(one / np.linalg.norm(one)).astype(np.float32) for one in released]
    return [np.concatenate([block @ unit for block in blocks]).astype(float) for unit in units]


def bounds(found: np.ndarray) -> tuple[float, float, float, float]:
    """Return the estimates with one variance and with two, the lower bounds corrected and as published."""
    null, mean = 1 / sqrt(SIZE), float(found.mean())
    two = fitted_epsilon((mean, float(found.std(ddof=1))), (0.0, null), DELTA)
    low = [
        threshold_epsilon(found, lambda t, _: null_tail(t, SIZE), DELTA, ALPHA, corrected)
        for corrected in (True, False)
    ]
    return shared_variance_epsilon(mean, null, DELTA), two, low[0], low[1]


def main() -> None:
    """Measure and print."""
    seeds = words(__doc__, seeds=20).seeds
    found = np.array([[bounds(one) for one in cosines(seed)] for seed in range(seeds)])  # [seeds, 3, 4]
    print("| true epsilon | estimate | as published | lower bound | above the truth | as published |")
    print("|---|---|---|---|---|---|")
    for place, truth in enumerate(TRUTH.values()):
        one = found[:, place]
        means, spread = one.mean(axis=0), one.std(axis=0, ddof=1)
        estimates = " | ".join(f"{means[n]:.2f} ± {spread[n]:.2f}" for n in (0, 1))
        above = [f"{int((one[:, n] > truth).sum())} of {seeds}" for n in (2, 3)]
        print(f"| {truth:.2f} | {estimates} | {means[2]:.2f} | {above[0]} | {above[1]} |")


if __name__ == "__main__":
    main()
