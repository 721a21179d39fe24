"""How evenly rules for clients that disagree serve them: accuracy on what each client holds out.

Usage: fairness.py CASE [SEED ...]. CASE is digits, mnist (10 clients of few classes each, Dirichlet 0.1), or
digits-liar, mnist-liar (Dirichlet 0.5; client 0 sends its update backwards, ten times too long). Each client
holds a fifth of its examples out; options are those below, none of them was tuned. Seeds are 0, 1, 2 unless
given. A row of the table is the mean over seeds of the last round, and in brackets the least and the most of
a seed; the liar counts nowhere.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from asked import words

CASES = ("digits", "mnist", "digits-liar", "mnist-liar")
UNIFORM = {"name": "mean", "weighting": "uniform"}
RULES: dict[str, dict[str, Any]] = {
    "mean, by examples": {},
    "mean": {"defense": UNIFORM},
    "pcgrad": {"pre_aggregations": ["pcgrad"], "defense": UNIFORM},
    "orthogonal": {"defense": "orthogonal"},
    "mgda": {"defense": "mgda"},
    "mgda, rescaled": {"defense": {"name": "mgda", "rescale": True}},
    "gradient_calibration": {"pre_aggregations": ["gradient_calibration"], "defense": UNIFORM},
    "qffl, q = 1": {"algorithm": {"name": "qffl", "q": 1.0}, "defense": UNIFORM},
    "qffl, q = 1, L = 1": {"algorithm": {"name": "qffl", "q": 1.0, "lipschitz": 1.0}, "defense": UNIFORM},
    "qffl, q = 0.1": {"algorithm": {"name": "qffl", "q": 0.1}, "defense": UNIFORM},
    "centered_clipping": {"defense": {"name": "centered_clipping", "clip_norm": 1.0}},
    "geometric_median": {"defense": "geometric_median"},
}
COLUMNS = ("test", "mean", "std", "p10", "worst")


def scenario(case: str, rule: str, seed: int) -> dict[str, Any]:
    """Return the scenario of a case under a rule."""
    data, _, liar = case.partition("-")
    small = data == "digits"
    return {
        "name": "fairness",
        "rounds": (14 if liar else 20) if small else 30,
        "num_clients": 10,
        "seed": seed,
        "held_out": 0.2,
        "data": data,
        "partition": {"name": "dirichlet", "alpha": 0.5 if liar else 0.1},
        "model": {"name": "mlp", "hidden": [32]},
        "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10 if small else 20},
        "evaluation": {"every": 100},
        "runtime": {"pool": "serial"},
        "attacks": [{"name": "sign_flip", "scale": 10.0, "clients": [0]}] if liar else [],
        **RULES[rule],
    }


def measured(case: str, rule: str, seed: int) -> dict[str, float]:
    """Return the last round's test accuracy, and how accuracy is spread over honest clients."""
    from gauntlet.sims.run import simulate
    from gauntlet.sims.scenario import make_scenario

    with tempfile.TemporaryDirectory() as folder:
        run = simulate(make_scenario(scenario(case, rule, seed)), Path(folder) / "run")
        last, test = run.fairness.iloc[-1], float(run.rounds.iloc[-1]["accuracy"])
    return {"test": test, **{name: float(last[name]) for name in COLUMNS[1:]}}


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    if given.case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, got '{given.case}'")
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"{given.case}, seeds {', '.join(map(str, seeds))}\n")
    print(f"| rule | {' | '.join(COLUMNS)} |\n|{'---|' * (1 + len(COLUMNS))}")
    for rule in RULES:
        found = [measured(given.case, rule, seed) for seed in seeds]
        cells = []
        for name in COLUMNS:
            values = np.array([one[name] for one in found])
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        print(f"| {rule} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
