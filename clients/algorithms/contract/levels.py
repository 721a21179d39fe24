"""What an algorithm owes whose clients train models of several sizes: tried on a small network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ....core.declarations import Algorithms, declared
from ....core.errors import ScenarioError
from ....core.registry import require
from ....core.seeds import generator, seeded_torch
from ...data.base import FederatedData
from ...exchange.levels import Levels, levels_of

_CLIENTS, _SHAPE = 12, (2,)


@dataclass(frozen=True)
class _Holders:
    """Clients with two labels; every third one holds the first alone."""

    name: str = "the contract's data"
    num_clients: int = _CLIENTS
    num_classes: int = 2
    input_shape: tuple[int, ...] = _SHAPE

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        return torch.ones(4, *_SHAPE), torch.tensor([0, 0, 0, int(client_id % 3 > 0)])


def _network() -> nn.Module:
    with seeded_torch(generator(0, "levels contract")):
        layers = nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)
    return nn.Sequential(*layers)


def _levels(algorithm: Any) -> Levels | None:
    """Return its levels; None where it has none, or says that it has none for such a network."""
    try:
        return levels_of(algorithm, _network(), cast(FederatedData, _Holders()), 0)
    except ScenarioError:
        return None


def each_level_is_a_model_of_some_parameters(algorithm: Any) -> None:
    """As many parameters as ``present`` says, outputs of the whole model's shape, the same each time."""
    levels, again = _levels(algorithm), _levels(algorithm)
    if levels is None or again is None:
        return
    for number, (part, other) in enumerate(zip(levels.parts, again.parts, strict=True)):
        outputs = part.model(torch.ones(3, *_SHAPE))
        fits = outputs.shape == (3, 2) and bool(outputs.isfinite().all())
        require(fits, f"level {number} must give finite outputs [3, 2], got {list(outputs.shape)}")
        require(
            torch.equal(part.present, other.present), f"level {number} is another one each time it is made"
        )


def every_client_has_a_level_that_follows_from_its_id_and_draw(algorithm: Any) -> None:
    """From 0 to the number of levels, the same whenever and in whatever order clients are asked."""
    levels = _levels(algorithm)
    if levels is None:
        return
    says = declared(algorithm, Algorithms.level) is not None
    require(says, "an algorithm with levels needs level(client_id, num_clients, draw)")
    clients = range(_CLIENTS)
    asked = [[levels.level(client, t) for client in clients] for t in range(3)]
    back = [[levels.level(client, t) for client in reversed(clients)][::-1] for t in reversed(range(3))][::-1]
    require(asked == back, "a client's level depends on who was asked before")
    if declared(algorithm, Algorithms.levels_stay):
        require(asked[0] == asked[1] == asked[2], "levels_stay is declared, and a client's level changes")


CHECKS: tuple[Callable[[Any], None], ...] = (
    each_level_is_a_model_of_some_parameters,
    every_client_has_a_level_that_follows_from_its_id_and_draw,
)
