"""What a malicious server owes, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..trees import State

Secret = Mapping[str, Any]
"""What a malicious server knows of its own doing, by name: trees as ``core.trees`` describes."""


class MaliciousServer(Protocol):
    """Deviate from the protocol before clients train: another model, or other parameters than the server's.

    Every client receives the same. What clients send is relative to what they received, and the server
    applies the aggregate to its own parameters, which stay free of what was planted. What it may declare:
    ``core.declarations.Servers``.
    """

    def rebuild(self, model: nn.Module) -> tuple[nn.Module, Secret]:
        """Return the model that clients are given in the place of the scenario's, and what is known of it.

        Called once, before the layout is made, and again where the model is made again: by a worker, or to
        replay a recording. So equal models give equal ones. Initial weights may be drawn from torch's global
        stream, which is the run's own within the call. ``model`` is the caller's to change.
        """

    def init(self, secret: Secret) -> State:
        """Return the memory before round 0, given what ``rebuild`` knows: where its layers lie, for one."""

    def plant(
        self, params: Tensor, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, Secret, State]:
        """Return what clients receive in a round [P], what is to be known of it, and the next memory.

        Args:
            params: The server's own parameters, float32, which are left as they are.  # [P]
            state: The memory.
            generator: A stream of the round's own.
        """
