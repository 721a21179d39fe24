"""Which part of the model each client trains, where an algorithm has models of several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import Part
from ...core.declarations import Algorithms, declared, name_of
from ...core.errors import PluginError, ScenarioError
from ...core.layout import Layout
from ...core.presence import Presence
from ...core.seeds import generator
from ..tasks.fitted import FittedTask, task_of

if TYPE_CHECKING:
    from ...core.updates import Updates
    from ..data.base import FederatedData
    from ..training.shelf import Shelf

Array = np.ndarray[Any, Any]


class EveryLabel:
    """All labels count in every client's loss, and none of what is about them is left out."""

    def counted(self, client_id: int) -> Tensor | None:
        """Return which labels count in a client's loss, float32 [C]; None for all."""
        return None

    def restricted(self, updates: Updates) -> Updates:
        """Return the updates with 0 in what is about labels that a client does not hold."""
        return updates

    def marked(self, shelf: Shelf, client_ids: Sequence[int], places: Sequence[Array]) -> Shelf:
        """Return the shelf with which labels the client holds that has an example there."""
        return shelf


ALL_LABELS = EveryLabel()


@dataclass(frozen=True, eq=False)
class HeldLabels:
    """As ``EveryLabel``, where clients train and send what is about labels that they hold.

    Attributes:
        data: The clients' examples, as they are before anybody poisons them.
        about: The label that each parameter is about; -1: none.  # [P]
    """

    data: FederatedData
    about: Tensor
    _held: dict[int, Tensor] = field(default_factory=dict)

    def held(self, client_id: int) -> Tensor:
        """Return whether a client holds an example of each label, bool.  # [C]"""
        if client_id not in self._held:
            counts = torch.bincount(self.data.client(client_id)[1], minlength=self.data.num_classes)
            self._held[client_id] = counts > 0
        return self._held[client_id]

    def counted(self, client_id: int) -> Tensor | None:
        return self.held(client_id).float()

    def present(self, client_id: int) -> Tensor:
        """Return which parameters are not about labels that the client does not hold, bool.  # [P]"""
        return (self.about < 0) | self.held(client_id)[self.about.clamp(min=0)]

    def restricted(self, updates: Updates) -> Updates:
        there = torch.stack([self.present(i) for i in updates.client_ids.tolist()])
        return updates.with_vectors(updates.vectors.where(there, 0.0))

    def marked(self, shelf: Shelf, client_ids: Sequence[int], places: Sequence[Array]) -> Shelf:
        held = torch.zeros(len(shelf.y), self.data.num_classes)
        for client_id, rows in zip(client_ids, places, strict=True):
            held[rows] = self.held(client_id).float()
        return replace(shelf, held=held.to(shelf.y.device))

    def of(self, present: Tensor) -> HeldLabels:
        """Return the same for the model that has these parameters alone, bool [P]."""
        return HeldLabels(self.data, self.about[present], self._held)


@dataclass(frozen=True, eq=False)
class Levels:
    """A run's levels.

    Attributes:
        algorithm: Who assigns them.
        seed: The run's seed.
        num_clients: N.
        parts: Each level's model.
        labels: Where clients send only what is about labels that they hold; else None.
    """

    algorithm: Any
    seed: int
    num_clients: int
    parts: tuple[Part, ...]
    labels: HeldLabels | None = None

    def level(self, client_id: int, round_: int) -> int:
        """Return a client's level in a round.

        Raises:
            PluginError: The algorithm names a level that it does not have.
        """
        draw = partial(generator, self.seed, "level", round_, client_id)
        assign: Any = declared(self.algorithm, Algorithms.level)
        found = assign(client_id, self.num_clients, draw)
        if not (isinstance(found, int | np.integer) and 0 <= found < len(self.parts)):
            raise PluginError(
                f"algorithm {name_of(self.algorithm)}: level must return a whole number from 0 to "
                f"{len(self.parts) - 1}, got {found!r}"
            )
        return int(found)

    def presence(self, client_ids: Sequence[int], rounds: Sequence[int]) -> Presence | None:
        """Return what clients' messages hold that began in these rounds; None where that is everything."""
        rows: dict[tuple[int, bytes], int] = {}
        table, level = [], []
        for client_id, round_ in zip(client_ids, rounds, strict=True):
            own = self.level(client_id, round_)
            held = b"" if self.labels is None else self.labels.held(client_id).numpy().tobytes()
            if (own, held) not in rows:
                there = self.parts[own].present
                table.append(there if self.labels is None else there & self.labels.present(client_id))
            level.append(rows.setdefault((own, held), len(rows)))
        if all(bool(there.all()) for there in table):
            return None
        return Presence(torch.stack(table), torch.tensor(level))


def levels_of(
    algorithm: Any, model: nn.Module, data: FederatedData, seed: int, task: FittedTask | None = None
) -> Levels | None:
    """Return an algorithm's levels; None where every client trains the whole model.

    Raises:
        PluginError: Its parts are none of this model.
        ScenarioError: It has none for this model or these data.
    """
    make: Callable[..., Sequence[Part]] | None = declared(algorithm, Algorithms.levels)
    if make is None:
        return None
    layout, shape = Layout.of(model), tuple(data.input_shape)
    parts = tuple(make(model, shape))
    _check_parts(parts, layout, name_of(algorithm))
    about = declared(algorithm, Algorithms.labels)
    held = None
    if about is not None:
        held = HeldLabels(data, _about(about(model), layout, task or task_of(data), algorithm))
    return Levels(algorithm, seed, data.num_clients, parts, held)


def _check_parts(parts: Sequence[Any], layout: Layout, who: str) -> None:
    if not parts:
        raise PluginError(f"algorithm {who}: levels must return at least one Part, got none")
    for number, part in enumerate(parts):
        if not isinstance(part, Part):
            raise PluginError(f"algorithm {who}: levels must return Parts, got a {type(part).__name__}")
        size, there = Layout.of(part.model), part.present
        if there.dtype != torch.bool or there.shape != (layout.num_parameters,):
            raise PluginError(
                f"algorithm {who}: present of level {number} must be bool [{layout.num_parameters}], got "
                f"{there.dtype} {list(there.shape)}"
            )
        if size.num_parameters != int(there.sum()) or size.num_parameters == 0 or size.buffers:
            raise PluginError(
                f"algorithm {who}: the model of level {number} has {size.num_parameters} parameters and "
                f"{size.num_buffers} floating buffers, and present says {int(there.sum())} and none; 1 "
                "parameter is the least"
            )


def _about(about: Tensor, layout: Layout, task: FittedTask, algorithm: Any) -> Tensor:
    who, facts = f"algorithm {name_of(algorithm)}", task.facts
    classes = facts.num_classes
    if not task.by_class:
        raise ScenarioError(
            f"{who} tells clients apart by their labels, and {facts.name} has {facts.labels}; switch "
            "that off (heterofl: mask = false)"
        )
    if about.dtype != torch.int64 or about.shape != (layout.num_parameters,):
        raise PluginError(
            f"{who}: labels must return int64 [{layout.num_parameters}], got {about.dtype} "
            f"{list(about.shape)}"
        )
    if int(about.max()) != classes - 1:
        raise ScenarioError(
            f"{who} needs a row of the last layer for each of the {classes} labels of {facts.name}, and the "
            f"model's has {int(about.max()) + 1}; switch the labels off (heterofl: mask = false)"
        )
    return about
