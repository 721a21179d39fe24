"""The server's own training: what its update would be if it were a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...clients.placement.device import one_thread

if TYPE_CHECKING:
    from ...clients.exchange.messages import Broadcast, Trained
    from ...clients.training.kept_kernel import KeptKernel
    from ...clients.training.kernel import BlockKernel


@dataclass(frozen=True)
class Root:
    """Train on the examples that the server keeps for itself, in the server's process whatever the pool.

    Attributes:
        kernel: A client's kernel, on the server's own data.
        number: The server's number in it: N, the first that no client has, so that its random streams
            are its own.
    """

    kernel: BlockKernel | KeptKernel
    number: int

    def train(self, broadcast: Broadcast) -> Trained:
        """Return the server's own message of this round, as a cohort of one client."""
        with one_thread():
            return self.kernel.train(broadcast, np.array([self.number]))
