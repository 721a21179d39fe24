"""Runs whose clients keep a part of the model, and what they come to, worked out with torch alone."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gauntlet.clients.data.base import Dataset
from gauntlet.clients.training.minibatches import minibatches
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator
from gauntlet.server.spec import PluginSpec, RunSpec

FILE = __file__
HOW = LocalTraining(local_steps=4, batch_size=8, lr=0.1, momentum=0.5)


@dataclass(frozen=True)
class Normed:
    """Two linear layers with batch normalisation between them, under a name that does not say so."""

    def build(self, input_shape, num_classes):
        size = int(np.prod(input_shape))
        return nn.Sequential(
            nn.Flatten(), nn.Linear(size, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, num_classes)
        )


@dataclass(frozen=True)
class Scaled:
    """Two clients with the same kind of inputs, those of the second five times as large."""

    def load(self):
        draw = np.random.default_rng(0)
        y = np.arange(80) % 2
        x = (draw.normal(size=(80, 3)) + y[:, None]).astype(np.float32)
        x[40:] *= 5
        return Dataset("scaled", x, y, x[:8], y[:8], 2, groups=np.repeat([0, 1], 40))


def kept_run(algorithm, model=None, rounds=3, **changes):
    """Return the spec of a run on digits with six clients, of whom four take part in a round."""
    settings = {
        "seed": 5,
        "rounds": rounds,
        "num_clients": 6,
        "data": PluginSpec("digits"),
        "partition": PluginSpec("dirichlet", {"alpha": 0.5}),
        "model": model or PluginSpec(f"{__file__}:Normed"),
        "training": HOW,
        "algorithm": algorithm,
        "sampler": PluginSpec("fixed_size", {"cohort_size": 4}),
        "rows": True,
        "held_out": 0.2,
    }
    return RunSpec(**(settings | changes))


def by_torch(model, kept, data, cohorts, seed=5, how=HOW):
    """Return (the exchanged tensors, each visited client's kept ones) after each round, by name.

    Args:
        model: With the first values; its ``state_dict`` is what is exchanged and kept.
        kept: The names of the tensors that stay.
        data: The clients' examples.
        cohorts: Who takes part in each round.
    """
    first = {n: v.clone() for n, v in model.state_dict().items() if v.is_floating_point()}
    shared = {n: v for n, v in first.items() if n not in kept}
    own, seen = {}, []
    for round_, cohort in enumerate(cohorts):
        sent, counts = [], []
        for client in cohort:
            local = deepcopy(model).train().requires_grad_(True)
            there = {n: v for n, v in first.items() if n in kept} | own.get(client, {})
            local.load_state_dict({**local.state_dict(), **shared, **there})
            x, y = data.client(client)
            steps = torch.optim.SGD(local.parameters(), lr=how.lr, momentum=how.momentum)
            for rows in minibatches(len(y), how, generator(seed, "batches", round_, client)):
                steps.zero_grad()
                nn.functional.cross_entropy(local(x[rows]), y[rows]).backward()
                steps.step()
            after = {n: v.detach().clone() for n, v in local.state_dict().items() if n in first}
            own[client] = {n: v for n, v in after.items() if n in kept}
            sent.append({n: v for n, v in after.items() if n not in kept})
            counts.append(len(y))
        buffers = {n for n, _ in model.named_buffers()}
        weights = torch.tensor(counts) / sum(counts)
        shared = {
            name: torch.stack([one[name] for one in sent]).mean(dim=0)
            if name in buffers
            else sum(w * one[name] for w, one in zip(weights, sent, strict=True))
            for name in shared
        }
        seen.append((shared, deepcopy(own)))
    return seen
