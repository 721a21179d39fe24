"""Runs whose events are written down: who may begin in which round, and how long each client takes."""

from dataclasses import dataclass

import numpy as np
import torch

from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.core.contracts import LocalTraining, Sampling
from gauntlet.server.spec import PluginSpec, RunSpec


@dataclass(frozen=True)
class Ones:
    """Examples (1, target) of clients, of whom each has one target."""

    sizes: str
    targets: str = ""

    def load(self):
        sizes = list(map(int, self.sizes.split()))
        goals = list(map(float, self.targets.split())) or [0.0] * len(sizes)
        y = np.repeat(np.array(goals, dtype=np.float32), sizes)[:, None]
        x = np.full((len(y), 1), np.sqrt(0.5), dtype=np.float32)  # the mean of (w x - y x)^2 is (w - y)^2 / 2
        groups = np.repeat(np.arange(len(sizes)), sizes)
        return Dataset("ones", x, y * x, x[:1], y[:1], 0, groups=groups, targets=Targets(("y",)))


@dataclass(frozen=True)
class Natural:
    """Client i has the examples of group i."""

    label_free = True

    def split(self, y, groups, num_clients, seed):
        return [np.flatnonzero(groups == i) for i in range(num_clients)]


@dataclass(frozen=True)
class Slope:
    """One weight from 0."""

    def build(self, input_shape, num_classes):
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(model.weight)
        return model


@dataclass(frozen=True)
class Plus:
    """Every update is +1."""

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return torch.full_like(gradient, -1.0)


@dataclass(frozen=True)
class Turns:
    """The clients of round 0, then of round 1 ..., as in "0 1 2/3 4"; nobody afterwards."""

    rounds: str
    periodic = True

    def sampling(self, num_clients):
        return Sampling("other", num_clients, 0.5, num_clients / 2)

    def sample(self, num_clients, generator, round_=0):
        turns = self.rounds.split("/")
        return np.array(turns[round_].split() if round_ < len(turns) else [], dtype=np.int64)


def script(sizes, turns, rounds, buffered=None, **changes):
    """Return the spec of a run in which client i takes ``sizes[i]`` seconds, and whoever may begin does."""
    here = __file__
    settings = {
        "seed": 0,
        "rounds": rounds,
        "num_clients": len(sizes),
        "data": PluginSpec(f"{here}:Ones", {"sizes": " ".join(map(str, sizes))}),
        "partition": PluginSpec(f"{here}:Natural"),
        "model": PluginSpec(f"{here}:Slope"),
        "training": LocalTraining(local_steps=1, batch_size=0, lr=1.0),
        "algorithm": PluginSpec(f"{here}:Plus"),
        "defense": PluginSpec("mean", {"weighting": "uniform"}),
        "sampler": PluginSpec(f"{here}:Turns", {"rounds": turns}),
        "network": PluginSpec("links", {"compute_seconds_per_example": 1.0}),
        "schedule": PluginSpec("buffered", buffered or {}),
        "rows": True,
    }
    return RunSpec(**(settings | changes))
