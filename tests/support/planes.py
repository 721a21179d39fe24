"""A regression on six clients: targets are a plane over five features, with noise."""

from dataclasses import dataclass

import numpy as np

from gauntlet.clients.data.base import Dataset, Targets

CLIENTS, EACH, FEATURES = 6, 10, 5


def examples():
    """Return the inputs [n, 5] and targets [n, 1] of all clients, ten each in a row."""
    draw = np.random.default_rng(4)
    x = draw.uniform(0, 1, (CLIENTS * EACH, FEATURES)).astype(np.float32)
    y = x @ draw.normal(0, 1, (FEATURES, 1)) + 0.5 + draw.normal(0, 0.1, (CLIENTS * EACH, 1))
    return x, y.astype(np.float32)


@dataclass(frozen=True)
class Planes:
    """All examples; the first ten are the test set, too."""

    def load(self):
        x, y = examples()
        return Dataset("planes", x, y, x[:10], y[:10], 0, targets=Targets(("y",)))


@dataclass(frozen=True)
class InRows:
    """Ten examples a client, in their order."""

    label_free = True

    def split(self, y, groups, num_clients, seed):
        return np.split(np.arange(CLIENTS * EACH), num_clients)
