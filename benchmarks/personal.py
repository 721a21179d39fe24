"""Models of which clients keep a part: accuracy on what each client holds out.

Usage: personal.py CASE [SEED ...]. CASE is labels (digits, 10 clients of few classes, Dirichlet 0.1, an MLP
64-32-10) or domains (digits, 9 clients whose pixels are as they are, negative, or low in contrast; the MLP
with batch normalisation after its first layer, but for the rules that say plain). All clients take part in
every round; a fifth of each one's examples is held out; 20 rounds of 10 steps of 32 examples at a step size
of 0.1, of which none was tuned. Seeds are 0, 1, 2 unless given. Each number is the last round's, over
clients: of a client's own model where it has one, else of the global one; the mean over seeds, and in
brackets the least and the most of a seed.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from asked import words
from torch import nn

COLUMNS = ("mean", "std", "p10", "worst")
PLAIN = {"name": "mlp", "hidden": [32]}
RULES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedper": {"algorithm": "fedper"},
    "fedper, 2 layers": {"algorithm": {"name": "fedper", "num_personal_layers": 2}},
    "fedbn": {"algorithm": "fedbn"},
    "fedbn, statistics only": {"algorithm": {"name": "fedbn", "stats_only": True}},
    "ditto": {"algorithm": "ditto"},
    "each alone": {"algorithm": {"name": "ditto", "pull": 0.0}},
    "plain, fedavg": {"model": PLAIN},
    "plain, each alone": {"model": PLAIN, "algorithm": {"name": "ditto", "pull": 0.0}},
}
CASES = {
    "labels": ("fedavg", "fedper", "ditto", "each alone"),
    "domains": (
        *("fedavg", "fedbn", "fedbn, statistics only", "fedper", "fedper, 2 layers"),
        *("plain, fedavg", "plain, each alone"),
    ),
}


@dataclass(frozen=True)
class Normed:
    """An MLP with batch normalisation after its first layer."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        first = nn.Linear(int(np.prod(input_shape)), 32)
        return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, num_classes))


def scenario(case: str, rule: str, seed: int) -> dict[str, Any]:
    """Return the scenario of a case under a rule."""
    labels = case == "labels"
    return {
        "name": "personal",
        "rounds": 20,
        "num_clients": 10 if labels else 9,
        "seed": seed,
        "held_out": 0.2,
        "data": "digits",
        "partition": {"name": "dirichlet", "alpha": 0.1} if labels else "domain_shift",
        "model": PLAIN if labels else f"{__file__}:Normed",
        "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10},
        "evaluation": {"every": 100},
        "runtime": {"pool": "serial"},
        **RULES[rule],
    }


def measured(case: str, rule: str, seed: int) -> dict[str, float]:
    """Return how the last round's accuracy is spread over clients."""
    from gauntlet.sims.run import simulate
    from gauntlet.sims.scenario import make_scenario

    with tempfile.TemporaryDirectory() as folder:
        run = simulate(make_scenario(scenario(case, rule, seed)), Path(folder) / "run")
        last = run.fairness[run.fairness["round"] == run.fairness["round"].max()]
    own = last[last["model"] == "own"]
    row = (own if len(own) else last).iloc[0]
    return {name: float(row[name]) for name in COLUMNS}


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    if given.case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, got '{given.case}'")
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"{given.case}, seeds {', '.join(map(str, seeds))}\n")
    print(f"| rule | {' | '.join(COLUMNS)} |\n|{'---|' * (1 + len(COLUMNS))}")
    for rule in CASES[given.case]:
        found = [measured(given.case, rule, seed) for seed in seeds]
        cells = []
        for name in COLUMNS:
            values = np.array([one[name] for one in found])
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        print(f"| {rule} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
