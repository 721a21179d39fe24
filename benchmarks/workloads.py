"""The workloads that every system here runs: fixed shapes, random data, 50 of 100 clients a round."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

POPULATION, COHORT, EXAMPLES, BATCH, LEARNING_RATE = 100, 50, 60, 10, 0.1
NAMES = ("logreg", "mlp", "mcnn")


def model(name: str) -> nn.Module:
    """Return the named model with seeded weights."""
    torch.manual_seed(0)
    if name == "logreg":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10))
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, 10)),
    )


def lenet5(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return LeNet-5 with ReLU, for pictures of 28 x 28."""
    return nn.Sequential(
        *(nn.Conv2d(input_shape[0], 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes)),
    )


def data(examples: int = EXAMPLES) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs [clients, examples, 1, 28, 28] and labels [clients, examples]."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((POPULATION, examples, 1, 28, 28)).astype("float32")
    return torch.from_numpy(inputs), torch.from_numpy(rng.integers(0, 10, (POPULATION, examples)))


@dataclass(frozen=True)
class RandomImages:
    """The workloads' data as a data set for Gauntlet, in the clients' order.

    Attributes:
        examples: Examples a client.
        clients: How many of them there are.
    """

    examples: int = EXAMPLES
    clients: int = POPULATION

    def load(self) -> Any:
        from gauntlet.clients.data.base import Dataset

        x, y = (part[: self.clients] for part in data(self.examples))
        images, labels = x.flatten(0, 1).numpy(), y.flatten().numpy()
        return Dataset("random_images", images, labels, images[:10], labels[:10], 10)


@dataclass(frozen=True)
class InOrder:
    """As many consecutive examples for every client."""

    def split(self, y: Any, groups: Any, num_clients: int, seed: int) -> list[Any]:
        return list(np.arange(len(y), dtype=np.int64).reshape(num_clients, -1))
