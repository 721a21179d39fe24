"""Virtual seconds until a test accuracy, schedule by schedule, on measured and on heavy-tailed delays.

Delays: network trace (256 serverless workers, folder sgc_lambda_delays, see GAUNTLET_DATA), or links of a
second times exp(N(0, 1)). Every schedule has the same clients, model, local training and number of places:
that many clients begin together, or are at work at any time. The clock is read at the first evaluation that
reaches the target. Nothing was tuned. Results go to ``--out``, one cell each, and are kept from call to call;
prints Markdown.

    python benchmarks/asynchrony.py [--data digits] [--network trace] [--seeds 0 1 2] [--out asynchrony.json]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np

from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

PLACES = 20
TASKS: dict[str, dict[str, Any]] = {
    "digits": {
        "values": {
            "num_clients": 50,
            "data": "digits",
            "model": "logistic_regression",
            "training": {"local_epochs": 1, "batch_size": 8, "lr": 0.05},
        },
        "target": 0.90,
        "messages": 3000,
    },
    "mnist": {
        "values": {
            "num_clients": 100,
            "data": "mnist",
            "model": {"name": "mlp", "hidden": [64]},
            "training": {"local_epochs": 1, "batch_size": 20, "lr": 0.1},
        },
        "target": 0.95,
        "messages": 1600,
    },
}
NETWORKS: dict[str, Any] = {
    "trace": "trace",
    "heavy": {"name": "links", "latency_seconds": 1.0, "jitter": 1.0},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "synchronous": {"schedule": "synchronous"},
    "deadline": {"schedule": {"name": "deadline", "seconds": 1.0}},
    "over_select": {"schedule": {"name": "over_select", "goal": 15}},
    "quorum": {"schedule": {"name": "quorum", "slack": 1.0}},
    "buffered": {"schedule": {"name": "buffered", "buffer_size": 10, "concurrency": PLACES}},
    "fedasync": {"schedule": {"name": "fedasync", "concurrency": PLACES}},
}


def scenario(task: str, network: str, schedule: str, seed: int) -> Any:
    """Return a cell's scenario; where everybody may begin, ``concurrency`` draws the places."""
    alone = schedule in ("buffered", "fedasync")
    return make_scenario(
        {
            "name": "asynchrony",
            "seed": seed,
            "rounds": 100_000,
            "partition": {"name": "dirichlet", "alpha": 0.5},
            "sampler": "full" if alone else {"name": "fixed_size", "cohort_size": PLACES},
            "defense": {"name": "mean", "weighting": "uniform"},
            "network": NETWORKS[network],
            "runtime": {"pool": "serial"},
            **TASKS[task]["values"],
            **SCHEDULES[schedule],
        }
    )


def measure(task: str, network: str, schedule: str, seed: int) -> dict[str, Any]:
    """Run until the target, or until so many messages have been sent."""
    run = prepare(replace(scenario(task, network, schedule, seed).run_spec(), rows=True))
    begin, ages, at_work, wasted, counted, last = process_time(), [], 0.0, 0.0, {}, None
    steps = run.steps(run.serial_pool())
    for last in steps:
        o = last.outcome
        took = np.minimum(o.delivery.client_seconds, last.state.clock - o.begins)
        at_work, wasted = at_work + took.sum(), wasted + took[~o.delivery.arrived].sum()
        ages += (o.round - o.received.started).tolist()
        for client in o.received.client_ids.tolist():
            counted[client] = counted.get(client, 0) + 1
        reached = last.score is not None and last.score.accuracy >= TASKS[task]["target"]
        if reached or sum(counted.values()) >= TASKS[task]["messages"]:
            break
    clock = last.state.clock
    box = last.state.mailbox.groups if last.state.mailbox else ()
    at_work += sum(float(np.minimum(group.seconds, clock - group.begins).clip(min=0).sum()) for group in box)
    most = sorted((counted.get(i, 0) for i in range(run.spec.num_clients)), reverse=True)
    return {
        "seconds": clock if reached else None,
        "accuracy": last.score.accuracy,
        "rounds": last.state.round,
        "messages": sum(counted.values()),
        "megabytes": last.state.bytes_up / 1e6,
        "utilisation": float(at_work) / (PLACES * clock),
        "wasted": float(wasted / at_work),
        "staleness": mean(ages),
        "stalest": max(ages),
        "contributions": [most[0], most[len(most) // 2], most[-1]],
        "cpu_seconds": process_time() - begin,
    }


def row(name: str, cells: list[dict[str, Any]]) -> str:
    """Return a line of the table: seeds one by one, then means over seeds."""
    clocks = ", ".join("-" if c["seconds"] is None else f"{c['seconds']:.1f}" for c in cells)
    all_there = all(c["seconds"] is not None for c in cells)
    total = f"{mean(c['seconds'] for c in cells):.1f}" if all_there else "-"
    means = {
        k: mean(c[k] for c in cells) for k in ("rounds", "messages", "utilisation", "wasted", "staleness")
    }
    parts = "/".join(f"{mean(c['contributions'][i] for c in cells):.0f}" for i in range(3))
    return (
        f"| {name} | {clocks} | {total} | {means['rounds']:.0f} | {means['messages']:.0f} | "
        f"{100 * means['utilisation']:.0f} % | {100 * means['wasted']:.0f} % | {means['staleness']:.1f} "
        f"({max(c['stalest'] for c in cells)}) | {parts} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=TASKS, default="digits")
    parser.add_argument("--network", choices=NETWORKS, default="trace")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("asynchrony.json"))
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.is_file() else {}
    print(
        "| schedule | seconds by seed | mean | steps | messages | utilisation | wasted | staleness | "
        "counts of a client |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in SCHEDULES:
        cells = []
        for seed in options.seeds:
            key = f"{options.data}/{options.network}/{name}/{seed}"
            if key not in found:
                found[key] = measure(options.data, options.network, name, seed)
                options.out.write_text(json.dumps(found, indent=1))
            cells.append(found[key])
        print(row(name, cells), flush=True)
    print(f"\n{sum(c['cpu_seconds'] for k, c in found.items()):.0f} CPU seconds of all that is kept")


if __name__ == "__main__":
    main()
