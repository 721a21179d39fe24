"""WeLore and uniform ranks from one task to another: what the cut costs, and accuracy after training.

Usage: welore.py [--reductions 0.6 0.8] [--lrs 0.02 0.05 0.1] [--seeds 0 1 2] [--tuning 10 11]

The bases, clients and rounds are those of adapters_pictures.py: a perceptron of 784, 128, 128 and 10 that was
trained on digits goes on among clients of clothes. The two hidden layers are looked at, and the last one is
trained whole in all rows. "uniform, ranks" cuts the same share of both layers' singular values, so that as
many are left in sum; "uniform, bytes" has the rank at which both layers' factors are as many numbers as
WeLore's. Cut: the accuracy on the 10 000 test digits before anything is trained, of the seeds. The step is
the best of the tuning seeds, and accuracies on the test clothes are of the others.
"""

import argparse
import time
from statistics import mean, median
from typing import Any

import torch
from adapters_pictures import MLP, base, pictures, tuned
from safetensors.torch import load_file

from gauntlet.clients.data.base import inputs
from gauntlet.clients.models.welore import Welore

HEAD, TARGETS = ["5.*"], ["1", "3"]
SHARED = {"name": "welore", "of": MLP, "targets": TARGETS, "trained": HEAD, "min_ratio": 0.0}
SIZES = {"1": 784 + 128, "3": 128 + 128}  # numbers of a rank
METHODS = ("all is trained", "WeLore", "WeLore, range", "uniform, ranks", "uniform, bytes")


def options(method: str, reduction: float, seed: int) -> dict[str, Any]:
    """Return the model of a method; how many ranks are as many bytes depends on the seed's base."""
    if method == "all is trained":
        return MLP
    if method.startswith("WeLore"):
        spectrum = "range" if method.endswith("range") else "largest"
        return SHARED | {"reduction": reduction, "min_ratio": 0.5, "spectrum": spectrum}
    if method == "uniform, bytes":
        numbers = sum(SIZES[layer] * rank for layer, rank in ranks("WeLore", reduction, seed).items())
        reduction = 1 - round(numbers / sum(SIZES.values())) / 128
    return SHARED | {"reduction": reduction, "ranks": "uniform"}


def cut(method: str, reduction: float, seed: int) -> torch.nn.Module:
    """Return the base as the method begins with it."""
    table = options(method, reduction, seed)
    model = Welore(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items() if k != "name"})
    net = model.build((1, 28, 28), 10)
    net.load_state_dict(load_file(base(seed)))
    model.settle(net, None)
    return net.eval()


def ranks(method: str, reduction: float, seed: int) -> dict[str, int]:
    """Return the rank of each layer that is trained as factors."""
    layers = cut(method, reduction, seed).named_parameters()
    return {n.split(".")[0]: len(p) for n, p in layers if n.endswith("lora_down.weight")}


def digits(method: str, reduction: float, seed: int) -> float:
    """Return the accuracy on digits before anything is trained."""
    data = pictures("mnist")
    with torch.no_grad():
        found = cut(method, reduction, seed)(inputs(data.test_x)).argmax(dim=1)
    return float((found == torch.from_numpy(data.test_y)).double().mean())


def row(method: str, reduction: float, asked: argparse.Namespace) -> str:
    begin = time.process_time()
    where = {seed: {"model": options(method, reduction, seed)} for seed in (*asked.tuning, *asked.seeds)}
    means = {lr: mean(tuned(where[seed], lr, seed)[0] for seed in asked.tuning) for lr in asked.lrs}
    best = max(means, key=means.__getitem__)
    runs = [tuned(where[seed], best, seed) for seed in asked.seeds]
    every, whole = [one[0] for one in runs], method == "all is trained"
    kept = "" if whole else " / ".join(f"{digits(method, reduction, seed):.3f}" for seed in asked.seeds)
    layers = "" if whole else " / ".join(
        ", ".join(map(str, ranks(method, reduction, seed).values())) for seed in asked.seeds
    )  # fmt: skip
    steps = ", ".join(f"{value:.3f}" for value in means.values())
    found = f"{mean(every):.3f}, {median(every):.3f}, {max(every):.3f}, {min(every):.3f}"
    sent = " / ".join(str(size) for size in dict.fromkeys(one[1] for one in runs))
    spent = time.process_time() - begin
    share = "" if whole else f"{reduction:g}"
    return f"| {method} | {share} | {layers} | {kept} | {steps} | {best:g} | {found} | {sent} | {spent:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reductions", nargs="+", type=float, default=[0.6, 0.8])
    parser.add_argument("--lrs", nargs="+", type=float, default=[0.02, 0.05, 0.1])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tuning", nargs="+", type=int, default=[10, 11])
    asked = parser.parse_args()
    lrs = " ".join(map(str, asked.lrs))
    print(f"| method | reduction | ranks | digits after the cut | tuning, steps {lrs} | step "
          "| clothes: mean, median, best, worst | bytes a message | CPU s |\n|" + "---|" * 9)  # fmt: skip
    print(row(METHODS[0], asked.reductions[0], asked), flush=True)
    for reduction in asked.reductions:
        for method in METHODS[1:]:
            print(row(method, reduction, asked), flush=True)


if __name__ == "__main__":
    main()
