"""A run's parts together with its data and model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from torch import nn

from ...clients.exchange.kept import keeping
from .loading import make_task

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ...clients.exchange.exchange import Exchange
    from ...clients.exchange.levels import Levels
    from ...clients.tasks.fitted import FittedTask
    from ...core.contracts import Privacy, Secret
    from ...core.layout import Layout
    from .parts import Parts


@dataclass(frozen=True, eq=False)
class Fitted:
    """The parts, and what they are to work on.

    Attributes:
        parts: The plug-ins.
        data: The clients' data.
        model: The clients' model.
        layout: How its tensors lie in a vector.
        mechanism: The privacy mechanism, with a noise multiplier in the place of an epsilon for examples.
        levels: Which part of the model each client trains; None where that is all of it.
        secret: What a server that rebuilt the model knows of it.
    """

    parts: Parts
    data: FederatedData
    model: nn.Module
    layout: Layout
    mechanism: Privacy
    levels: Levels | None = None
    secret: Secret = field(default_factory=dict)

    @cached_property
    def task(self) -> FittedTask:
        """What is learnt."""
        return make_task(self.parts.spec, self.data)

    @cached_property
    def exchange(self) -> Exchange:
        """What the clients send, receive and remember."""
        return keeping(self.parts.exchange(self.layout), self.model)

    @cached_property
    def privacy(self) -> Privacy:
        """The mechanism for these messages, its noise calibrated where a budget is given; not behind a guard.

        Raises:
            ValueError: A budget that this sampling cannot keep.
        """
        return self.parts.privacy(self.mechanism, self.exchange.up.num_parameters)
