"""What clients get that want different things of the same inputs: one model for all, or one a cluster.

Usage: conflicts.py CASE [SEED ...]. Ten clients of digits, a tenth of the examples each, of which each holds
a fifth out; all of them in every round, 24 rounds. CASE says who disagrees:
  halves: clients 5 to 9 have another meaning of the ten labels, drawn from the seed; sampled: likewise, and
  five clients are drawn in each of 48 rounds; two: clients 8 and 9; one: client 9 alone;
  three: clients 3 to 5 have one such meaning, 6 to 9 another one;
  negatives: every other client sees negatives, of the same labels (domain_shift);
  nobody: all agree; few: all agree, and each has few classes (Dirichlet 0.1);
  flippers: clients 7 to 9 attack, one class taught as another (label_flip), and count nowhere.
Seeds are 0, 1, 2 unless given. A row is the mean over seeds of the last round, and in brackets the least and
the most of a seed: of a client's accuracy with its own model, where it has one, on what it holds out.
Clusters are those that clients of gm_split trained last, in each seed, suspicious clients left out.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from asked import words

CASES = ("halves", "sampled", "two", "one", "three", "negatives", "nobody", "few", "flippers")
UNIFORM = {"name": "mean", "weighting": "uniform"}
RULES: dict[str, dict[str, Any]] = {
    "mean": {"defense": UNIFORM},
    "pcgrad": {"pre_aggregations": ["pcgrad"], "defense": UNIFORM},
    "mgda": {"defense": "mgda"},
    "fedper": {"algorithm": "fedper", "defense": UNIFORM},
    "ditto": {"algorithm": "ditto", "defense": UNIFORM},
    "gm_split": {"algorithm": "gm_split", "defense": UNIFORM},
}
COLUMNS = ("mean", "std", "p10", "worst")
CLIENTS = 10


@dataclass(frozen=True)
class Disagreeing:
    """Digits dealt to ten natural clients at random; some read the labels in another way than the test set.

    Attributes:
        last: How many clients have each other meaning: the last clients have the last one.
        seed: What examples are dealt by, and meanings are drawn from.
    """

    last: tuple[int, ...] = (5,)
    seed: int = 0

    def load(self) -> Any:
        from dataclasses import replace

        from gauntlet.clients.data.digits import Digits

        pile, draw = Digits().load(), np.random.default_rng(self.seed)
        groups = draw.permutation(len(pile.y)) % CLIENTS
        y, end = pile.y.copy(), CLIENTS
        for count in reversed(self.last):
            theirs = (groups >= end - count) & (groups < end)
            y[theirs] = draw.permutation(pile.num_classes)[pile.y[theirs]]
            end -= count
        return replace(pile, name="disagreeing digits", y=y, groups=groups)


def scenario(case: str, rule: str, seed: int) -> dict[str, Any]:
    """Return the scenario of a case under a rule."""
    last = {"halves": [5], "sampled": [5], "two": [2], "one": [1], "three": [3, 4]}.get(case, [])
    data = {"name": f"{Path(__file__).resolve()}:Disagreeing", "last": last, "seed": seed}
    partition: Any = {"negatives": {"name": "domain_shift", "gains": [1.0, -1.0], "offsets": [0.0, 1.0]}}
    partition |= {"few": {"name": "dirichlet", "alpha": 0.1}}
    return {
        "name": "conflicts",
        "rounds": 48 if case == "sampled" else 24,
        "num_clients": CLIENTS,
        "seed": seed,
        "held_out": 0.2,
        "sampler": {"name": "fixed_size", "cohort_size": 5} if case == "sampled" else "full",
        "data": "digits" if case in partition else data,
        "partition": partition.get(case, "natural"),
        "model": {"name": "mlp", "hidden": [32]},
        "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10},
        "evaluation": {"every": 100},
        "runtime": {"pool": "serial"},
        "attacks": [{"name": "label_flip", "clients": [7, 8, 9]}] if case == "flippers" else [],
        **RULES[rule],
    }


def measured(case: str, rule: str, seed: int) -> dict[str, float]:
    """Return how accuracy is spread over honest clients in the last round, and the number of clusters."""
    from gauntlet.sims.run import simulate
    from gauntlet.sims.scenario import make_scenario

    with tempfile.TemporaryDirectory() as folder:
        run = simulate(make_scenario(scenario(case, rule, seed)), Path(folder) / "run")
        last = run.fairness.iloc[-1]
        told = run.scores[run.scores["name"] == "fact.cluster"].drop_duplicates("client_id", keep="last")
    found = {name: float(last[name]) for name in COLUMNS}
    return found | {"clusters": told[told["value"] >= 0]["value"].nunique() or 1}


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    if given.case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, got '{given.case}'")
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"{given.case}, seeds {', '.join(map(str, seeds))}\n")
    print(f"| rule | {' | '.join(COLUMNS)} | clusters |\n|{'---|' * (2 + len(COLUMNS))}")
    for rule in RULES:
        found = [measured(given.case, rule, seed) for seed in seeds]
        cells = []
        for name in COLUMNS:
            values = np.array([one[name] for one in found])
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        clusters = ", ".join(str(int(one["clusters"])) for one in found)
        print(f"| {rule} | {' | '.join(cells)} | {clusters} |", flush=True)


if __name__ == "__main__":
    main()
