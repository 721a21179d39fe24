"""Two clients with quadratic objectives whose federated trace is known in closed form."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gauntlet.clients.data.base import Targets
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalRule, LocalTraining
from gauntlet.privacy.no_privacy import NoPrivacy

CURVATURES, CENTRES = (1.0, 4.0), (1.0, -1.0)


@dataclass(frozen=True)
class Quadratics:
    """f_i(x) = a_i/2 (x - b_i)^2 as least squares: input sqrt(a), target sqrt(a) b, one example a client."""

    input_shape = (1,)
    targets = Targets(("sqrt(a) b",))

    def num_examples(self, client_id: int) -> int:
        return 1

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        root = CURVATURES[client_id] ** 0.5
        return torch.tensor([[root]]), torch.tensor([[root * CENTRES[client_id]]])


def half_squared(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean() / 2


@pytest.fixture
def toy() -> Callable[..., list[float]]:
    """Return the global parameter after each round of full participation from 0, uniform weights."""

    def trace(rule: LocalRule, training: LocalTraining, rounds: int) -> list[float]:
        model = nn.Linear(1, 1, bias=False)
        kernel = BlockKernel(Quadratics(), model, rule, training, NoPrivacy(), (), 0, half_squared)
        x, seen = torch.zeros(1), []
        for t in range(rounds):
            trained = kernel.train(Broadcast(t, x, torch.zeros(0)), np.array([0, 1]))
            x = x + trained.updates.vectors.mean(dim=0)
            seen.append(float(x))
        return seen

    return trace
