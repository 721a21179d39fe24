"""CPU seconds of one checkpoint's tables after many rounds, and what single turned bits do to a checkpoint.

``python benchmarks/checkpoints.py cost [ROUNDS]``: a run's writer with so many rounds behind it takes 10 more
and flushes them, 20 times; the median.
``python benchmarks/checkpoints.py flips [NUMBER]``: a small run's checkpoint with so many single bits turned,
one at a time, each another; how many are taken for whole.
"""

import argparse
import tempfile
from pathlib import Path
from random import Random
from statistics import median
from time import process_time

from gauntlet.core.errors import CheckpointError
from gauntlet.server.checkpoint import checkpoints, read_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.sims.results import read_manifest
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import Scenario, make_scenario
from gauntlet.sims.writer import RunWriter


def scenario(**changes: object) -> Scenario:
    small = {
        "name": "checkpoints",
        "num_clients": 6,
        "data": "digits",
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
        "defense": {"name": "trimmed_mean", "num_byzantine": 1},
        "server_optimizer": {"name": "adam", "lr": 0.01},
        "runtime": {"pool": "serial"},
    }
    return make_scenario({**small, **changes})


def cost(rounds: int, folder: Path) -> None:
    one = scenario(rounds=rounds)
    simulation = prepare(one.run_spec())
    (step,) = [step for step, _ in zip(simulation.steps(simulation.serial_pool()), range(1), strict=False)]
    writer = RunWriter.create(folder / "run", one, simulation.choice)
    for _ in range(rounds):
        writer.add(simulation.plan, step)
    writer.flush()
    seconds = []
    for _ in range(20):
        for _ in range(10):
            writer.add(simulation.plan, step)
        begin = process_time()
        writer.flush()
        seconds.append(process_time() - begin)
    print(f"{rounds} rounds: {median(seconds):.4f} CPU seconds a checkpoint's tables")
    adds = process_time()
    for _ in range(1000):
        writer.add(simulation.plan, step)
    print(f"{process_time() - adds:.3f} CPU milliseconds a round's rows")


def flips(number: int, folder: Path) -> None:
    run = simulate(scenario(rounds=3, checkpoint={"every": 1}), folder / "run").folder
    begun = read_manifest(run)["fingerprint"]
    path = checkpoints(run / "checkpoints")[-1]
    whole = path.read_bytes()
    accepted = 0
    for bit in Random(0).sample(range(8 * len(whole)), number):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            read_checkpoint(path, begun)
            accepted += 1
        except CheckpointError:
            pass
    print(f"{number} of {8 * len(whole)} bits turned, one at a time: {accepted} accepted")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["cost", "flips"])
    parser.add_argument("number", nargs="?", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if given.what == "cost":
            cost(given.number or 30_000, Path(place))
        else:
            flips(given.number or 2_500, Path(place))
