"""Small published settings, run as their sources have them: what this package gives beside what they say.

Usage: published.py CASE [SEED ...]. Seeds are 0, 1, 2 unless given. CASE is one of

- points: Ditto's point estimation. Mean squared error of honest clients' estimates, in closed form and by
  Ditto's own steps in float64, over 20,000 worlds a seed: each client's own mean, Ditto's at the best lambda,
  and the global mean; clean (8 clients) and with 8 of 16 malicious.
- fcube: NIID-Bench's FCUBE: a linear model, 4 parties, 50 rounds of 10 epochs; test accuracy of the last one.
- feddyn: the synthetic example of FedDyn's code: 20 clients, 2 a round, 10 epochs; loss on all clients'
  examples after rounds 50, 100 and 150 (the code runs 500).
- niid-1, niid-dirichlet: Flower's niid_bench on MNIST: LeNet, 10 clients, 10 epochs, 10 rounds of its 50, one
  label a client or Dirichlet(0.5); the best round's accuracy and the last one's. Six minutes of one core a
  cell.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import words
from torch import nn

PROX = {"name": "fedprox", "mu": 0.01}
RULES: dict[str, Any] = {"fedavg": "fedavg", "fedprox": PROX, "scaffold": "scaffold", "fednova": "fednova"}
DYNAMIC = {"feddyn": {"name": "feddyn", "alpha": 0.01}, **RULES, "fedprox": {"name": "fedprox", "mu": 1e-4}}
SGD = {"batch_size": 64, "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-5, "local_epochs": 10}


def lenet(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return the LeNet of niid_bench: 5 x 5 convolutions of 6 and 16 channels, 120 and 84 units."""
    return nn.Sequential(
        *(nn.Conv2d(input_shape[0], 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes)),
    )


def from_zero(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return a linear model whose weights are 0."""
    model = nn.Linear(input_shape[0], num_classes)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


@dataclass(frozen=True)
class Logistic:
    """20 clients with 200 points of 30 features each, N(0, j^-1.2), labelled by one linear model.

    There are 5 classes; the test points are all clients' own, as in the code.

    Attributes:
        seed: Of the points and the model.
    """

    seed: int = 0

    def load(self) -> Any:
        from gauntlet.clients.data.base import Dataset

        draw = np.random.default_rng(self.seed)
        weights, bias = draw.standard_normal((30, 5)), draw.standard_normal(5)
        x = draw.standard_normal((4000, 30)) * np.arange(1, 31) ** -0.6
        y = (x @ weights + bias).argmax(axis=1)
        x = x.astype(np.float32)
        return Dataset("logistic", x, y, x, y, 5, groups=np.repeat(np.arange(20), 200))


def simulated(changes: dict[str, Any], seed: int) -> Any:
    """Return the rounds of a run in which something was scored."""
    import gauntlet

    told = {"name": "published", "seed": seed, "runtime": {"pool": "serial"}, "checkpoint": {"every": 0}}
    with tempfile.TemporaryDirectory() as folder:
        return gauntlet.simulate(gauntlet.Scenario(**told | changes), Path(folder) / "run").rounds.dropna(
            subset=["loss"]
        )


def fcube(rule: str, seed: int) -> list[float]:
    """Return the last round's accuracy."""
    world = {"data": "fcube", "partition": "natural", "num_clients": 4, "model": "logistic_regression"}
    run = {"rounds": 50, "training": SGD, "evaluation": {"every": 50}, "algorithm": RULES[rule]}
    return [float(simulated(world | run | means(rule), seed)["accuracy"].iloc[-1])]


def least(seed: int) -> float:
    """Return the loss of the linear model that is best with the same weight decay, in float64."""
    data = Logistic(seed).load()
    x, y = torch.from_numpy(data.x).double(), torch.from_numpy(data.y)
    model = from_zero((30,), 5).double()
    loss = nn.functional.cross_entropy
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=300, history_size=30, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        decay = sum(p.square().sum() for p in model.parameters())
        total: torch.Tensor = loss(model(x), y) + 0.5e-5 * decay
        torch.autograd.backward(total)
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return loss(model(x), y).item()


def feddyn(rule: str, seed: int) -> list[float]:
    """Return the losses after rounds 50, 100 and 150; of ``least`` the least there is."""
    if rule == "least":
        return [least(seed)]
    training = {"batch_size": 10, "lr": 0.1, "weight_decay": 1e-5, "local_epochs": 10}
    world = {
        "data": {"name": f"{__file__}:Logistic", "seed": seed},
        "partition": "natural",
        "num_clients": 20,
        "model": from_zero,
        "sampler": {"name": "fixed_size", "cohort_size": 2},
        "rounds": 150,
        "training": training,
        "evaluation": {"every": 50},
        "algorithm": DYNAMIC[rule],
    }
    return [float(v) for v in simulated(world | means(rule), seed)["loss"]]


def niid(partition: dict[str, Any]) -> Callable[[str, int], list[float]]:
    """Return what gives a rule's best and last accuracy under a partition."""

    def measured(rule: str, seed: int) -> list[float]:
        world = {
            "data": {"name": "mnist", "normalize": False},
            "partition": partition,
            "num_clients": 10,
            "model": lenet,
            "rounds": 10,
            "training": SGD,
            "algorithm": RULES[rule],
        }
        found = simulated(world | means(rule), seed)["accuracy"]
        return [float(found.max()), float(found.iloc[-1])]

    return measured


def means(rule: str) -> dict[str, Any]:
    """Return the mean that a rule takes: of clients alike where it must."""
    alike = rule in ("scaffold", "feddyn")
    return {"defense": {"name": "mean", "weighting": "uniform"}} if alike else {}


def points(world: str, seed: int) -> list[float]:
    """Return the closed form's three errors, and Ditto's own."""
    from gauntlet.clients.algorithms.ditto import Ditto

    clients, liars, spread, pull = {"clean": (8, 0, 0.1, 2.1333), "attacked": (16, 8, 0.5, 1.1852)}[world]
    draw, noise = torch.Generator().manual_seed(seed), 0.8**2 / 30
    scale = torch.where(torch.arange(clients) < liars, spread, 0.1).double()[:, None]
    truth = scale * torch.randn(clients, 20_000, generator=draw, dtype=torch.float64)
    seen = truth + noise**0.5 * torch.randn(truth.shape, generator=draw, dtype=torch.float64)
    shared, own = seen.mean(dim=0), torch.zeros_like(seen)
    for _ in range(200):  # 0.1 of the way each, in units of the curvature
        own = own - 0.1 / (1 + pull) * Ditto(pull).personal.correct(own - seen, own, shared)
    honest = [((one - truth) ** 2)[liars:].mean().item() for one in (seen, own, shared.expand_as(seen))]
    closed = [in_closed_form(clients, liars, spread, at, noise) for at in (0.0, pull, 1e12)]
    return [*closed, *honest]


def in_closed_form(clients: int, liars: int, spread: float, pull: float, noise: float) -> float:
    """Return the mean squared error of honest clients, tau = 0.1."""
    here, there = pull / (1 + pull) / clients, 1 / (1 + pull)
    others = (clients - liars - 1) * 0.01 + liars * spread**2
    blurred = noise * ((here + there) ** 2 + (clients - 1) * here**2)
    return (here + there - 1) ** 2 * 0.01 + here**2 * others + blurred


ONE_LABEL = {"name": "pathological", "classes_per_client": 1}
CASES: dict[str, tuple[Callable[[str, int], list[float]], tuple[str, ...], str]] = {
    "points": (points, ("clean", "attacked"), "closed form: own, Ditto, global; measured: likewise"),
    "fcube": (fcube, tuple(RULES), "accuracy"),
    "feddyn": (feddyn, ("least", *tuple(DYNAMIC)[:4]), "loss after rounds 50, 100, 150"),
    "niid-1": (niid(ONE_LABEL), tuple(RULES), "accuracy: best round, last"),
    "niid-dirichlet": (
        niid({"name": "dirichlet", "alpha": 0.5, "balanced": True}),
        tuple(RULES),
        "accuracy: best round, last",
    ),
}


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    if given.case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, got '{given.case}'")
    measured, rows, column = CASES[given.case]
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"| {given.case} | seed | {column} |\n|---|---|---|")
    for row in rows:
        for seed in seeds:
            cells = ", ".join(f"{value:.4g}" for value in measured(row, seed))
            print(f"| {row} | {seed} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
