"""Full training, LoRA, LoRA-GA and LoRA-Pro from one task to another: accuracy at each one's own best step.

Usage: adapters_pictures.py [--methods full lora ...] [--lrs 0.03 0.1 0.3 1] [--seeds 0 1 2] [--tuning 10]

A perceptron of 784, 128, 128 and 10 is trained on 3000 pictures of MNIST. Then five of 150 clients with 398
pictures of Fashion-MNIST each take part in each of 6 rounds, with 12 steps of SGD on 32 of them; the server
has 300 pictures of its own, which LoRA-GA looks at. The step is the best of the tuning seeds, and accuracies
on the 10 000 test pictures are of the others; every seed draws its own base, clients and adapters. Rank 4,
all layers adapted, alpha 8. The gap is that of the mean factors' product, the least and the largest of rounds
and seeds.
"""

import argparse
import os
import time
from functools import cache
from pathlib import Path
from statistics import mean, median
from tempfile import mkdtemp
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn import functional

from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset, inputs
from gauntlet.clients.models.mlp import Mlp
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

MLP = {"name": "mlp", "hidden": [128, 128]}
LORA = {"name": "lora", "of": MLP, "rank": 4, "alpha": 8.0}
METHODS = {
    "full": {"model": MLP},
    "lora": {"model": LORA},
    "lora_ga": {"model": LORA | {"start": "lora_ga"}},
    "lora_pro": {"model": LORA | {"gradient": "lora_pro"}},
    "lora, products": {"model": LORA, "defense": "lora_product"},
    "lora_ga, products": {"model": LORA | {"start": "lora_ga"}, "defense": "lora_product"},
    "lora_pro, products": {"model": LORA | {"gradient": "lora_pro"}, "defense": "lora_product"},
}
SCRATCH = Path(mkdtemp(prefix="adapters"))


@cache
def pictures(name: str) -> Dataset:
    return DATASETS.build(name, {"normalize": False}).load()


@cache
def base(seed: int) -> str:
    """Return a file of weights after two passes over pictures of digits."""
    from safetensors.torch import save_file

    data, stream = pictures("mnist"), generator(seed, "adapters_base")
    rows = stream.permutation(len(data.x))[:3000]
    x, y = inputs(data.x[rows]), torch.from_numpy(data.y[rows])
    with seeded_torch(stream):
        model = Mlp(hidden=(128, 128)).build((1, 28, 28), 10)
        own = list(model.parameters())
        for _ in range(4):
            for some in torch.randperm(len(x)).split(32):
                loss = functional.cross_entropy(model(x[some]), y[some])
                for p, g in zip(own, torch.autograd.grad(loss, own), strict=True):
                    p.data -= 0.2 * g
    save_file(model.state_dict(), SCRATCH / f"base-{seed}.safetensors")
    return str(SCRATCH / f"base-{seed}.safetensors")


@cache
def run(method: str, lr: float, seed: int) -> tuple[float, int, tuple[float, ...]]:
    """Return the accuracy, the bytes of a message, and the factors' gaps."""
    return tuned(METHODS[method], lr, seed)


def tuned(how: dict[str, Any], lr: float, seed: int) -> tuple[float, int, tuple[float, ...]]:
    """Return the same of a scenario's ``model`` and what else it has."""
    values = {
        "name": "adapters", "seed": seed, "rounds": 6, "num_clients": 150, "root_examples": 300,
        "data": {"name": "fashion_mnist", "normalize": False},
        "sampler": {"name": "fixed_size", "cohort_size": 5},
        "training": {"local_steps": 12, "batch_size": 32, "lr": lr},
        "evaluation": {"every": 6}, "runtime": {"pool": "serial"},
        **how, "model": {**how["model"], "init": base(seed)},
    }  # fmt: skip
    simulation = prepare(make_scenario(values).run_spec())
    gaps, step = list[float](), None
    for step in simulation.steps(simulation.serial_pool()):
        details = step.outcome.verdict.details
        gaps += [next(iter(details.values()))["factor_gap"]] if details else []
    assert step is not None
    assert step.score is not None
    assert step.score.accuracy is not None
    return step.score.accuracy, step.state.bytes_up // 30, tuple(gaps)


def row(method: str, asked: argparse.Namespace) -> str:
    begin = time.process_time()
    alike = method.removesuffix(", products")  # factors' best step is products', too
    means = {lr: mean(run(alike, lr, seed)[0] for seed in asked.tuning) for lr in asked.lrs}
    best = max(means, key=means.__getitem__)
    runs = [run(method, best, seed) for seed in asked.seeds]
    every, gaps = [one[0] for one in runs], [gap for one in runs for gap in one[2]]
    gap = f"{min(gaps):.3f} to {max(gaps):.3f}" if gaps else ""
    spent = time.process_time() - begin
    steps = ", ".join(f"{value:.3f}" for value in means.values())
    found = f"{mean(every):.3f}, {median(every):.3f}, {max(every):.3f}, {min(every):.3f}"
    return f"| {method} | {steps} | {best:g} | {found} | {runs[0][1]} | {gap} | {spent:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--lrs", nargs="+", type=float, default=[0.03, 0.1, 0.3, 1.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tuning", nargs="+", type=int, default=[10])
    asked = parser.parse_args()
    lrs = " ".join(map(str, asked.lrs))
    print(f"| method | tuning, steps {lrs} | step | accuracy: mean, median, best, worst | bytes a message "
          "| gap | CPU s |\n|" + "---|" * 7)  # fmt: skip
    for method in asked.methods:
        print(row(method, asked), flush=True)


if __name__ == "__main__":
    main()
