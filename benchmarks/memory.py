"""Peak memory of a run, each in a process of its own, in MiB. Usage: memory.py [CASE ...].

``cohort-N``: N clients of the MNIST CNN with 21,840 parameters under the median, so that the whole matrix of
updates is needed. ``population-N``: 100 of N synthetic clients. ``resnet18``: 20 clients of ResNet-18 with
group norm (11 million parameters) on CIFAR-10's shape under multi-Krum.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from asked import words

CASES = (
    *(f"cohort-{n}" for n in (125, 250, 500, 1000)),
    *(f"population-{n}" for n in (1000, 1_000_000)),
    "resnet18",
)
ROUNDS = 2


def scenario(case: str) -> dict[str, object]:
    """Return the scenario of a case; data sets with files are replaced by random images of their shape."""
    kind, _, number = case.partition("-")
    small = {"local_steps": 2, "batch_size": 10, "lr": 0.05}
    if kind == "cohort":
        images = {"name": f"{__file__}:Images", "num_examples": 20 * int(number)}
        return {"num_clients": int(number), "data": images, "model": "mcnn", "training": small} | {
            "defense": "median"
        }
    if kind == "population":
        sampler = {"name": "fixed_size", "cohort_size": 100}
        return {
            "num_clients": int(number),
            "data": "synthetic",
            "model": "logistic_regression",
            "sampler": sampler,
            "training": small,
        }
    images = {"name": f"{__file__}:Images", "num_examples": 400, "channels": 3, "size": 32}
    defense = {"name": "multi_krum", "num_byzantine": 4}
    training = {"local_steps": 1, "batch_size": 4, "lr": 0.05}
    return {"num_clients": 20, "data": images, "model": "resnet18_gn", "training": training} | {
        "defense": defense
    }


class Images:
    """Random images in the shape of MNIST or CIFAR-10, as a data set by file."""

    def __init__(self, num_examples: int = 400, channels: int = 1, size: int = 28) -> None:
        self.shape = (num_examples, channels, size, size)

    def load(self):  # type: ignore[no-untyped-def]
        import numpy as np

        from gauntlet.clients.data.base import Dataset

        stream = np.random.default_rng(0)
        x = stream.integers(0, 256, self.shape, dtype=np.uint8)
        y = stream.integers(0, 10, len(x))
        return Dataset("random_images", x, y, x[:100], y[:100], 10)


def peak(case: str) -> float:
    """Run a case here; return this process's peak resident memory in MiB."""
    import gauntlet
    from gauntlet.sims.scenario import make_scenario

    always = {"name": case, "rounds": ROUNDS, "runtime": {"pool": "serial"}, "checkpoint": {"every": 0}}
    with tempfile.TemporaryDirectory() as folder:
        gauntlet.simulate(
            make_scenario(always | {"evaluation": {"every": ROUNDS}} | scenario(case)), Path(folder) / "run"
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        print(f"{peak(sys.argv[2]):.0f}")
    else:
        for name in words(__doc__, cases=list(CASES)).cases:
            done = subprocess.run(
                [sys.executable, __file__, "--here", name], capture_output=True, text=True, check=True
            )
            print(f"| {name} | {done.stdout.strip()} MiB |", flush=True)
