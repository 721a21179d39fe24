"""L-GreCo against the uniform choice on updates of ResNet-18: bytes at the same summed error, and the bound.

Usage: l_greco.py [--seeds 0 1 2] [--steps 2] [--batch 16] [--menus topk ...] [--squared]. A client's update
on CIFAR-10 (SGD, lr 0.05, momentum 0.9, from an untrained model with group norm, 11,173,962 parameters in 62
tensors), encoded with every value of a menu. Prints, for each menu and seed, megabytes of the uniform choice
and of the plan, the plan's summed error over the uniform one's, how far it is above the linear relaxation,
and the CPU milliseconds that planning took.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor
from torch.nn import functional

from gauntlet.clients.codecs.l_greco import LGreco
from gauntlet.clients.codecs.parts.planning import plan
from gauntlet.clients.data import DATASETS
from gauntlet.clients.models import MODELS
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch

Array = np.ndarray[Any, Any]
MENUS: dict[str, dict[str, Any]] = {
    "topk": {
        "codec": "topk",
        "option": "density",
        "menu": (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08),
        "uniform": 3,
    },
    "qsgd": {
        "codec": {"name": "qsgd", "pack": "huffman"},
        "option": "levels",
        "menu": (1, 3, 7, 15, 31, 63, 127),
        "uniform": 3,
    },
    "powersgd": {"codec": "powersgd", "option": "rank", "menu": (1, 2, 4, 8, 16), "uniform": 2},
}


def recorded_update(seed: int, steps: int, batch: int) -> tuple[Tensor, Layout]:
    """Return what one client sends, with its layout.  # [P]"""
    found, stream = DATASETS.build("cifar10").load(), generator(seed, "l_greco batches")
    with seeded_torch(generator(seed, "l_greco model")):
        model = MODELS.build("resnet18_gn").build((3, 32, 32), 10)
    layout = Layout.of(model)
    before = layout.flatten(dict(model.named_parameters())).detach().clone()
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        rows = stream.integers(len(found.x), size=batch)
        x = torch.from_numpy(np.asarray(found.x[rows], dtype=np.float32)) / 255
        sgd.zero_grad()
        functional.cross_entropy(model(x), torch.from_numpy(found.y[rows])).backward()
        sgd.step()
    return layout.flatten(dict(model.named_parameters())).detach() - before, layout


def relaxed(sizes: Array, errors: Array, bound: float) -> float:
    """Return the least size where a layer may mix options: no plan is smaller."""
    layers, options = sizes.shape
    one_each = np.kron(np.eye(layers), np.ones(options))
    found = linprog(
        sizes.ravel() / sizes.sum(),
        A_ub=errors.ravel()[None] / bound,
        b_ub=[1.0],
        A_eq=one_each,
        b_eq=np.ones(layers),
        method="highs",
    )
    return float(found.fun * sizes.sum())


def compare(name: str, update: Tensor, layout: Layout, seed: int, squared: bool) -> None:
    planner = LGreco(**MENUS[name], squared=squared)
    sizes, errors = planner.tables(update, layout)
    begin = time.process_time()
    chosen = plan(sizes, errors, planner.uniform)
    spent = time.process_time() - begin
    rows, uniform = np.arange(len(sizes)), planner.uniform
    bound = float(errors[:, uniform].sum())
    before, after = sizes[:, uniform].sum(), sizes[rows, chosen].sum()
    least = relaxed(sizes, errors, bound)
    figures = f"{before / 8e6:.4f} | {after / 8e6:.4f} | {after / before:.3f}"
    error, above = errors[rows, chosen].sum() / bound, 100 * (after / least - 1)
    print(f"| {name} | {seed} | {figures} | {error:.4f} | {above:.2f} % | {1e3 * spent:.0f} ms |", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    asked.add_argument("--steps", type=int, default=2)
    asked.add_argument("--batch", type=int, default=16)
    asked.add_argument("--menus", nargs="*", default=list(MENUS))
    asked.add_argument("--squared", action="store_true")
    given = asked.parse_args()
    torch.set_num_threads(1)
    print("| menu | seed | uniform, MB | planned, MB | ratio | error | above the bound | planning |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in given.seeds:
        update, layout = recorded_update(seed, given.steps, given.batch)
        for name in given.menus:
            compare(name, update, layout, seed, given.squared)


if __name__ == "__main__":
    main()
