"""Virtual seconds until two models are at a test accuracy, with and without codes, on measured delays.

256 clients share MNIST and train logistic regression by full-batch gradient descent on the delays of 256
serverless workers (folder sgc_lambda_delays, see GAUNTLET_DATA). Settings are those that
``gradient_coding.py --halves`` chooses on the first 15 rounds of the trace; runs go round the other 15, seed
k from the (5 k)-th of them on. SR-SGC and M-SGC train two models in turn. Of the others, which train one, the
clock is read after twice as many rounds as it takes: two models in turn need so many. Results are
kept in ``--out``, one cell each; prints Markdown.

    python benchmarks/coded_training.py [--seeds 0 1 2] [--target 0.83] [--out coded_training.json]
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import pandas as pd

from gauntlet.server.networks.trace import Trace
from gauntlet.server.schedules.parts.coded_rounds import Multiplexed, SelectiveRepeat
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

N, LR, TURNS = 256, 0.05, 2
GC, SR, M = SelectiveRepeat(N, 12), SelectiveRepeat(N, 17, 1, 2), Multiplexed(N, 21, 1, 2)
BURSTS = {"burst": 1, "window": 2}
SCHEMES: dict[str, dict[str, Any]] = {
    "wait for all": {
        "load": 1 / N,
        "algorithm": {"name": "gc", "num_stragglers": 0},
        "schedule": "synchronous",
    },
    "leave stragglers out": {
        "load": 1 / N,
        "algorithm": "gradient_descent",
        "schedule": {"name": "quorum", "slack": 1.0},
    },
    "GC": {
        "load": GC.load,
        "algorithm": {"name": "gc", "num_stragglers": GC.most},
        "schedule": {"name": "quorum", "slack": 1.0, "most_late": GC.most},
    },
    "SR-SGC": {
        "load": SR.load,
        "algorithm": {"name": "sr_sgc", **BURSTS, "most_late": SR.most},
        "schedule": {"name": "bursty", **BURSTS, "most_late": SR.most},
    },
    "M-SGC": {
        "load": M.load,
        "algorithm": {"name": "m_sgc", **BURSTS, "most_late": M.most},
        "schedule": {"name": "bursty", **BURSTS, "most_late": M.most},
    },
}


def write_trace(path: Path, first: int) -> None:
    """Write the second half of the trace from one of its rounds on, with the slope of the whole."""
    zero, slope = Trace().measured()
    half = np.roll(zero[len(zero) // 2 :], -first, axis=0)
    rows = [
        {"load": load, "round": r, "worker": w, "duration_s": seconds + load * slope}
        for load in (0, 1)
        for r, row in enumerate(half)
        for w, seconds in enumerate(row)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def measure(scheme: str, seed: int, target: float, most: int) -> dict[str, Any]:
    """Run until both models are there, or so many rounds."""
    cell, begin = SCHEMES[scheme], process_time()
    descends = cell["algorithm"] == "gradient_descent"
    algorithm = cell["algorithm"] if descends else {**cell["algorithm"], "lr": LR}
    with TemporaryDirectory() as folder:
        write_trace(Path(folder, "delays.csv"), 5 * seed)
        scenario = make_scenario(
            {
                "name": "coded-training",
                "seed": seed,
                "rounds": most,
                "num_clients": N,
                "data": "mnist",
                "model": "logistic_regression",
                "algorithm": algorithm,
                "schedule": cell["schedule"],
                "network": {"name": "trace", "path": f"{folder}/delays.csv", "load": cell["load"]},
                "runtime": {"pool": "serial"},
                **({"training": {"lr": LR}} if descends else {}),
            }
        )
        run = prepare(scenario.run_spec())
        found = until(run, scheme, target)
    return {**found, "cpu": process_time() - begin}


def until(run: Any, scheme: str, target: float) -> dict[str, Any]:
    """Return the rounds and seconds until two models have the accuracy, and who was left behind till then."""
    turns, rounds, late, untold, recent = TURNS if scheme.endswith("SGC") else 1, None, 0, 0, []
    for step in run.steps(run.serial_pool()):
        late += len(step.outcome.began) - len(step.outcome.received)
        untold += bool(step.outcome.verdict.fallback)
        if rounds is None:
            recent = [*recent, step.score.accuracy][-turns:]
            if len(recent) == turns and min(recent) >= target:
                rounds, accuracy = step.state.round * (TURNS // turns), min(recent)
        if step.state.round == rounds:
            assert untold == turns - 1, f"{scheme}: {untold} rounds told nothing"
            return {
                "rounds": rounds,
                "seconds": step.state.clock,
                "accuracy": accuracy,
                "left": late / rounds,
            }
    raise SystemExit(f"{scheme} is not at {target:g} after {step.state.round} rounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--target", type=float, default=0.83)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES), choices=list(SCHEMES))
    parser.add_argument("--out", type=Path, default=Path("coded_training.json"))
    options = parser.parse_args()
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    for scheme in options.schemes:
        for seed in options.seeds:
            key = f"{scheme} {seed} {options.target:g}"
            if key not in kept:
                kept[key] = measure(scheme, seed, options.target, options.rounds)
                options.out.write_text(json.dumps(kept, indent=1))
    show(kept, options)


def show(kept: dict[str, Any], options: argparse.Namespace) -> None:
    print("| scheme | load | rounds of two models | seconds, seed by seed | mean | left behind a round |")
    print("|---|---|---|---|---|---|")
    for scheme in options.schemes:
        cells = [kept[f"{scheme} {seed} {options.target:g}"] for seed in options.seeds]
        seconds = [cell["seconds"] for cell in cells]
        rounds = "/".join(str(cell["rounds"]) for cell in cells)
        each = ", ".join(f"{s:.2f}" for s in seconds)
        left = mean(cell["left"] for cell in cells)
        head = f"{scheme} | {SCHEMES[scheme]['load']:.4f} | {rounds}"
        print(f"| {head} | {each} | {mean(seconds):.2f} | {left:.1f} |")
    cpu = sum(cell["cpu"] for cell in kept.values())
    print(f"\ntarget {options.target:g}, {cpu:.0f} CPU seconds")


if __name__ == "__main__":
    main()
