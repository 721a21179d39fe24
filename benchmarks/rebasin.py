"""Merging clients that share no start: a plain mean against one of matched hidden units, in one round.

Usage: rebasin.py [--seeds 0 1 2] [--clients 2 5] [--hidden 64 256] [--alphas 0 0.5]. MNIST, 20 clients IID
(alpha 0) or by Dirichlet, of whom so many take part: MLP with two hidden layers, each from weights of its
own, 6 epochs of SGD with batches of 32 at 0.1. Prints the test accuracy of the clients (mean), of the plain
mean and of both ways of matching, by how much the L2 distance of models fell, and how far the first layer's
singular vectors agree before and after: sum s_i t_i |<u_i, v_i> <u'_i, v'_i>| over sum s_i t_i.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gauntlet.core.contracts import LocalTraining, Visit
from gauntlet.core.layout import Layout
from gauntlet.core.updates import Context, Updates
from gauntlet.defenses.weight_matching import WeightMatching
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

HERE = str(Path(__file__).resolve())


@dataclass(frozen=True)
class OwnStart:
    """Train from weights of the client's own, uniform within 1 / sqrt(inputs) of 0; send what is found."""

    sizes: tuple[int, ...]
    epochs: int = 6
    lr: float = 0.1

    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        stream, parts = visit.stream("own start"), []
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            parts.append(stream.uniform(-1, 1, outputs * (inputs + 1)) / inputs**0.5)
        theta, n = torch.from_numpy(np.concatenate(parts)).float(), visit.num_examples
        loss = torch.zeros(())
        for _ in range(self.epochs):
            for rows in np.split(stream.permutation(n), range(32, n, 32)):
                gradient, loss = visit.gradient(theta, rows)
                theta = theta - self.lr * gradient
        return theta - visit.received, loss

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None) -> tuple[Tensor, None]:
        return params + aggregate, state


def trained(
    hidden: int, clients: int, alpha: float, seed: int
) -> tuple[Updates, Layout, tuple[Tensor, Tensor]]:
    """Return what clients sent in one round, the layout, and the test examples."""
    partition = PluginSpec("dirichlet", {"alpha": alpha}) if alpha else PluginSpec("iid")
    sizes = [784, hidden, hidden, 10]
    spec = RunSpec(
        seed=seed,
        rounds=1,
        num_clients=20,
        data=PluginSpec("mnist"),
        partition=partition,
        model=PluginSpec("mlp", {"hidden": [hidden, hidden]}),
        training=LocalTraining(),
        algorithm=PluginSpec(f"{HERE}:OwnStart", {"sizes": sizes}),
        sampler=PluginSpec("fixed_size", {"cohort_size": clients}),
        rows=True,
    )
    simulation = prepare(spec)
    (step,) = simulation.steps(simulation.serial_pool())
    sent, params = step.outcome.received, step.outcome.broadcast.params
    context = Context(0, params, simulation.plan.layout, seed)
    updates = Updates(sent.vectors, sent.client_ids, sent.num_examples, context=context)
    return updates, simulation.plan.layout, simulation.data.test()


def accuracy(params: Tensor, layout: Layout, test: tuple[Tensor, Tensor]) -> float:
    tensors = list(layout.views(params).values())
    x = test[0].flatten(1)
    for number, (weight, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        x = nn.functional.linear(torch.relu(x) if number else x, weight, bias)
    return float((x.argmax(dim=1) == test[1]).float().mean())


def agreement(one: Tensor, two: Tensor) -> float:
    (u, s, v), (p, t, q) = torch.linalg.svd(one, False), torch.linalg.svd(two, False)
    cosines = ((u * p).sum(dim=0) * (v * q).sum(dim=1)).abs()
    return float((s * t * cosines).sum() / (s * t).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clients", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.0, 0.5])
    asked = parser.parse_args()
    print("alpha hidden K seed  client  plain  reference  mean  distance  agreement")
    for alpha in asked.alphas:
        for hidden in asked.hidden:
            for clients in asked.clients:
                for seed in asked.seeds:
                    print(one_case(hidden, clients, alpha, seed), flush=True)


def one_case(hidden: int, clients: int, alpha: float, seed: int) -> str:
    """Return a line of the table."""
    before = time.process_time()
    updates, layout, test = trained(hidden, clients, alpha, seed)
    x = updates.context.params if updates.context else torch.zeros(0)
    ways = [updates, *(WeightMatching(mode=m).transform(updates, None)[0] for m in ("reference", "mean"))]
    own = np.mean([accuracy(x + one, layout, test) for one in updates.vectors])
    merged = [accuracy(x + way.vectors.mean(dim=0), layout, test) for way in ways]
    apart = [float((way.vectors[1:] - way.vectors[0]).norm(dim=1).mean()) for way in ways]
    first = [[next(iter(layout.views(x + row).values())) for row in way.vectors[:2]] for way in ways]
    agree = [agreement(*pair) for pair in first]
    scores = "  ".join(f"{score:.3f}" for score in (own, *merged))
    spent = time.process_time() - before
    nearer = f"{apart[1] / apart[0] - 1:+.3f}  {agree[0]:.3f} {agree[1]:.3f}"
    return f"{alpha:5} {hidden:6} {clients} {seed:4}  {scores}  {nearer}  {spent:.0f} s"


if __name__ == "__main__":
    main()
