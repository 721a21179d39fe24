"""How wide the range of good server step sizes is, over four decades, of every server optimizer for vectors.

Usage: step_sizes.py [COHORT] [SEED ...]. Digits, 10 clients, Dirichlet 0.5, an MLP 64-32-10, 12 rounds of
10 steps of 32 examples at a step size of 0.1; COHORT clients take part in a round (10, all of them, unless
given). Seeds are 0, 1, 2 unless given. Each number is the last round's test accuracy: the mean over seeds,
and in brackets the least and the most of a seed.
"""

from typing import Any

import numpy as np
from asked import words

SIZES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RULES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sgd, momentum 0.667": {"momentum": 0.667},  # grokfast's gain for what never changes
    "grokfast, memory 0.9": {"memory": 0.9},
    "adam": {},
    "adam, corrected": {"bias_correction": "adam"},
    "yogi": {},
    "adagrad": {},
    "adabelief": {},
    "exadam": {},
    "adagrad_norm": {},
    "adgd": {},
}


def accuracy(rule: str, lr: float, cohort: int, seed: int) -> float:
    """Return the test accuracy after the last round."""
    from gauntlet.server.simulation import prepare
    from gauntlet.sims.scenario import make_scenario

    scenario: dict[str, Any] = {
        "name": "server-steps",
        "rounds": 12,
        "num_clients": 10,
        "seed": seed,
        "data": "digits",
        "partition": {"name": "dirichlet", "alpha": 0.5},
        "model": {"name": "mlp", "hidden": [32]},
        "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10},
        "sampler": {"name": "fixed_size", "cohort_size": cohort},
        "evaluation": {"every": 12},
        "server_optimizer": {"name": rule.partition(",")[0], "lr": lr, **RULES[rule]},
    }
    simulation = prepare(make_scenario(scenario).run_spec())
    *_, last = simulation.steps(simulation.serial_pool())
    assert last.score is not None
    assert last.score.accuracy is not None
    return last.score.accuracy


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, cohort=10, seeds=[])
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"{given.cohort} of 10 clients, seeds {', '.join(map(str, seeds))}\n")
    print(f"| server_optimizer | {' | '.join(map(str, SIZES))} |\n|{'---|' * (1 + len(SIZES))}")
    for rule in RULES:
        cells = []
        for lr in SIZES:
            found = np.array([accuracy(rule, lr, int(given.cohort), seed) for seed in seeds])
            cells.append(f"{found.mean():.3f} ({found.min():.3f} to {found.max():.3f})")
        print(f"| {rule} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
