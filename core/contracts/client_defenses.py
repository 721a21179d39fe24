"""What a client's own defense against leakage owes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..layout import Layout


class BlockVisit(Protocol):
    """Clients that trained together, as a client defense works there.

    Attributes:
        round: The round, from 0.
        client_ids: Stable ids, ascending.  # K of them
        layout: How the parameters lie in a vector.
        received: The broadcast parameters, float32.  # [P]
        model: A copy of the clients' model that holds them, in evaluation mode; no parameter asks for a
            gradient.
    """

    @property
    def round(self) -> int: ...
    @property
    def client_ids(self) -> Sequence[int]: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def received(self) -> Tensor: ...
    @property
    def model(self) -> nn.Module: ...

    def batch(self, row: int) -> tuple[Tensor, Tensor]:
        """Return the inputs [B, ...] and labels or targets of the first local step of one of the clients."""

    def stream(self, row: int) -> np.random.Generator:
        """Return that client's own stream of this round, new with every call."""


class ClientDefense(Protocol):
    """Change what a client lets out, after its local training and before it clips, noises and encodes.

    It has ``change``, or ``wrap`` or ``examples`` (``core.declarations.ClientDefenses``), or several of them,
    and remembers nothing. What leaves the client is made of the changed update alone: what an algorithm sends
    and remembers besides follows from it, too.
    """

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        """Return what the clients let out in the place of their updates, float32.  # [K, P]

        Row by row: what becomes of a client's row depends on no other client.

        Args:
            update: Their local minus the received parameters.  # [K, P]
            visit: Who they are, and what they trained on.
        """
