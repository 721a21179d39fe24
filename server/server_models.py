"""What a server runs and trains models with, as the round sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ..clients.exchange.messages import Broadcast, Trained
    from ..core.updates import Forward, Gradient, OwnExamples


class Candidates(Protocol):
    """Candidate models, and the server's examples to try them on; see ``clients.scoring.candidates``."""

    blank: Tensor | None

    @property
    def examples(self) -> OwnExamples | None: ...

    @property
    def loss(self) -> Callable[[Tensor, Tensor], Tensor]: ...

    def forward(self, buffers: Tensor) -> Forward:
        """Return what runs candidates, which have these buffers unless others are given."""

    def gradient(self, buffers: Tensor) -> Gradient:
        """Return what differentiates the mean loss, in evaluation mode, with these buffers."""


class OwnTraining(Protocol):
    """What the server trains on examples of its own; see ``root.Root``."""

    @property
    def number(self) -> int: ...

    def train(self, broadcast: Broadcast) -> Trained:
        """Return the server's own message of this round, as a cohort of one client."""
