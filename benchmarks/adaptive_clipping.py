"""The path of the clip norm: Gauntlet's ``quantile`` beside the strategies of flwr 1.41, from the same norms.

Usage: adaptive_clipping.py. Needs the extra ``flower``. Log-normal norms (median 1, 0.5 in the logarithm),
100 clients a round, target 0.5, step 0.2, z = 1, 300 rounds, seeds 0 to 2. Prints a Markdown table.
"""

import logging
import statistics

import numpy as np
import torch
from asked import words
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.server.strategy import DifferentialPrivacyServerSideAdaptiveClipping, FedAvg

from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates
from gauntlet.privacy.gaussian import Gaussian

CLIENTS, ROUNDS, SIZE, SEEDS = 100, 300, 10, (0, 1, 2)
STARTS = (1e-3, 0.9, 1.1, 1e3)


def updates(seed: int, round_: int) -> np.ndarray:
    """Return a round's updates: random directions, log-normal norms.  # [K, P]"""
    stream = generator(seed, "norms", round_)
    drawn = stream.standard_normal((CLIENTS, SIZE))
    lengths = np.exp(0.5 * stream.standard_normal(CLIENTS))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * lengths[:, None]).astype(np.float32)


def gauntlet_path(start: float, seed: int, noisy: bool) -> list[float]:
    count = {"name": "quantile"} if noisy else {"name": "quantile", "count_noise_std": 0.0}
    mechanism = Gaussian(start, noise_multiplier=1.0, delta=1e-3, clipping=count)
    state, path = mechanism.init(), []
    ids, ones = torch.arange(CLIENTS), torch.ones(CLIENTS, dtype=torch.int64)
    for t in range(ROUNDS):
        came = Updates(torch.from_numpy(updates(seed, t)), ids, ones)
        clipped, state = mechanism.clip(came, state)
        path.append(mechanism.clipped_at(state))
        mean = clipped.vectors.mean(dim=0)
        _, state = mechanism.noise(mean, CLIENTS, state, generator(seed, "noise", t))
    return path


def flower_path(start: float, seed: int, noisy: bool) -> list[float]:
    np.random.seed(seed)  # noqa: NPY002 - the strategy draws from the global state
    strategy = DifferentialPrivacyServerSideAdaptiveClipping(
        FedAvg(), 1.0, CLIENTS, initial_clipping_norm=start
    )
    if not noisy:
        strategy.clipped_count_stddev = 0.0
    strategy.current_round_params = [np.zeros(SIZE, dtype=np.float32)]
    path = []
    for t in range(ROUNDS):
        path.append(float(strategy.clipping_norm))
        fits = [
            (None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters([row]), 1, {}))
            for row in updates(seed, t)
        ]
        strategy.aggregate_fit(t, fits, [])
    return path


def told(paths: list[list[float]]) -> str:
    """Return C after 10, 50, 100 and 200 rounds (first seed), and the mean of the last 100 over the seeds."""
    at = " | ".join(f"{paths[0][t]:.2g}" for t in (10, 50, 100, 200))
    late = [statistics.mean(path[-100:]) for path in paths]
    return f"{at} | {statistics.mean(late):.3g} ({min(late):.3g} to {max(late):.3g})"


def main() -> None:
    words(__doc__)
    logging.disable(logging.CRITICAL)
    print("| who | noise on the count | C at first | 10 | 50 | 100 | 200 | mean of the last 100 of 300 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, run in (("gauntlet", gauntlet_path), ("flwr 1.41", flower_path)):
        for noisy in (True, False):
            for start in STARTS:
                paths = [run(start, seed, noisy) for seed in SEEDS]
                print(f"| {name} | {'m / 20' if noisy else 'none'} | {start:g} | {told(paths)} |", flush=True)


if __name__ == "__main__":
    main()
