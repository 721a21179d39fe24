"""A client defense at work: between the local training of some clients and what leaves them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import ClientDefense
from ...core.declarations import ClientDefenses, declared, name_of
from ...core.errors import PluginError
from ...core.guards import from_outside, guard
from ...core.layout import Layout
from ...core.replies import REPLIES
from ...core.seeds import generator
from ..client_defenses import CLIENT_DEFENSES

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast

Array = np.ndarray[Any, Any]
PURPOSE = "client defense"
Examples = Callable[[int, int], tuple[Tensor, Tensor]]
"""From a client and a round to the examples on which it trains."""
Batches = Callable[[int, int, int], Sequence[Array]]
"""From a client, a round and how many examples there are to the rows of each local step."""
Alter = Callable[[int, int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From a client, a round and what it would train on to what it trains on instead."""


def changes_updates(defense: object) -> bool:
    """Return whether a client defense lets out something else than a client's update."""
    has = declared(defense, ClientDefenses.change) is not None
    return has and not declared(defense, ClientDefenses.passive)


def wrap_of(name: str, options: Mapping[str, Any]) -> Callable[[nn.Module], nn.Module] | None:
    """Return what a client defense makes of models; None where it leaves them alone.

    Raises:
        PluginError: An unknown one, or options that it does not take.
    """
    if declared(CLIENT_DEFENSES.find(name), ClientDefenses.wrap) is None:
        return None
    who = f"{CLIENT_DEFENSES.noun} '{name}'"
    plugin = guard(CLIENT_DEFENSES.build(name, options), who, REPLIES.get(CLIENT_DEFENSES.name))
    return declared(plugin, ClientDefenses.wrap)


def altered(defense: object, seed: int) -> Alter | None:
    """Return how clients' examples are altered before they train on them; None where they are not.

    A defense from outside that declares to mix none is handed one at a time: a guarantee counts on that.

    Raises:
        PluginError: Another number of examples came back, or of other shapes or types: see ``core.replies``.
    """
    examples: Any = declared(defense, ClientDefenses.examples)
    if examples is None:
        return None

    def alter(client_id: int, round_: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        found = examples(x, y, generator(seed, f"{PURPOSE} examples", round_, client_id))
        return cast(tuple[Tensor, Tensor], found)

    def alter_each(client_id: int, round_: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        streams = (generator(seed, f"{PURPOSE} examples", round_, client_id, i) for i in range(len(y)))
        found = [examples(x[i : i + 1], y[i : i + 1], stream) for i, stream in enumerate(streams)]
        return torch.cat([one for one, _ in found]), torch.cat([label for _, label in found])

    mixes_none = not declared(defense, ClientDefenses.looks_at_examples)
    return alter_each if mixes_none and from_outside(defense) else alter


@dataclass(frozen=True, eq=False)
class TrainedClients:
    """A ``core.contracts.BlockVisit``: some clients of a block, after they trained.

    Attributes:
        broadcast: What they received, on the device on which they trained.
        ids: Who they are.
        defending: Whoever makes the visit.
    """

    broadcast: Broadcast
    ids: Sequence[int]
    defending: Defending

    @property
    def round(self) -> int:
        return self.broadcast.round

    @property
    def client_ids(self) -> Sequence[int]:
        return self.ids

    @property
    def layout(self) -> Layout:
        return self.defending.layout

    @property
    def received(self) -> Tensor:
        return self.broadcast.params

    @cached_property
    def model(self) -> nn.Module:
        return self.defending.holding(self.broadcast)

    def batch(self, row: int) -> tuple[Tensor, Tensor]:
        self.defending.refuse_a_look()
        x, y = self.defending.batch(self.ids[row], self.round)
        device = self.received.device
        return x.to(device), y.to(device)

    def stream(self, row: int) -> np.random.Generator:
        return generator(self.defending.seed, PURPOSE, self.round, self.ids[row])


class Defending:
    """Let a client defense change the updates of clients that have one model; one from outside one by one."""

    def __init__(
        self, defense: ClientDefense, model: nn.Module, seed: int, examples: Examples, batches: Batches
    ) -> None:
        """Take the defense, a model to copy, the run's seed, what clients train on, and in which steps."""
        self._defense, self.seed, self._examples, self._batches = defense, seed, examples, batches
        self._alone = from_outside(defense)  # a guarantee counts on it that none sees another client's update
        self.layout = Layout.of(model)
        self._model = copy.deepcopy(model).eval().requires_grad_(False)

    def changed(self, update: Tensor, broadcast: Broadcast, ids: Sequence[int]) -> Tensor:
        """Return what these clients let out in the place of their updates.  # [k, P]"""
        parts = [slice(row, row + 1) for row in range(len(ids))] if self._alone else [slice(None)]
        changed = [self._defense.change(update[p], TrainedClients(broadcast, ids[p], self)) for p in parts]
        return torch.cat(changed) if len(changed) != 1 else changed[0]

    def refuse_a_look(self) -> None:
        """Raise ``PluginError`` where the defense declares that it looks at no example."""
        if not declared(self._defense, ClientDefenses.looks_at_examples):
            raise PluginError(
                f"client defense {name_of(self._defense)} declares looks_at_examples = False, and asked for "
                "a client's examples: a guarantee counts on that"
            )

    def batch(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return the examples of a client's first local step; none where it takes none."""
        x, y = self._examples(client_id, round_)
        rows = next(iter(self._batches(client_id, round_, len(y))), np.zeros(0, dtype=np.int64))
        return x[rows], y[rows]

    def holding(self, broadcast: Broadcast) -> nn.Module:
        """Return the copied model with what clients received."""
        model = self._model.to(broadcast.params.device)
        there = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        views = self.layout.views(broadcast.params)
        with torch.no_grad():
            for name, value in {**views, **self.layout.buffer_views(broadcast.buffers)}.items():
                there[name].copy_(value)
        return model


def defending_of(
    defense: object, model: nn.Module, seed: int, examples: Examples, batches: Batches
) -> Defending | None:
    """Return a client defense at work on copies of a model; None where it lets out updates as they are."""
    if not changes_updates(defense):
        return None
    return Defending(cast(ClientDefense, defense), model, seed, examples, batches)
