"""Seconds of Gauntlet's rounds. Usage: gauntlet_rounds.py WORKLOAD ROUNDS [POOL] [VECTORIZE]."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import gauntlet
from gauntlet.sims.scenario import Scenario, make_scenario

HERE = Path(__file__).parent
MODELS = {"logreg": "logistic_regression", "mlp": {"name": "mlp", "hidden": [200]}, "mcnn": "mcnn"}


def scenario_of(workload: str, rounds: int, **changes: Any) -> Scenario:
    """Return a workload as a scenario; keywords are further keys of it."""
    return make_scenario(
        {
            "name": workload,
            "rounds": rounds,
            "num_clients": 100,
            "data": f"{HERE}/workloads.py:RandomImages",
            "partition": f"{HERE}/workloads.py:InOrder",
            "model": MODELS[workload],
            "training": {"batch_size": 10, "lr": 0.1},
            "sampler": {"name": "fixed_size", "cohort_size": 50},
            "evaluation": {"every": rounds},
            "checkpoint": {"every": 0},
            **changes,
        }
    )


def seconds(workload: str, rounds: int, pool: str = "ray", vectorize: str = "auto") -> list[float]:
    """Return each round's wall-clock seconds, everything between two rounds included."""
    runtime = {"pool": pool, "num_workers": 2}
    scenario = scenario_of(workload, rounds, vectorize=vectorize, runtime=runtime)
    with tempfile.TemporaryDirectory() as folder:
        return list(gauntlet.simulate(scenario, Path(folder) / "run").timings["seconds"])


if __name__ == "__main__":
    print(*seconds(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
