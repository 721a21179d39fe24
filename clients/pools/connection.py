"""What both transports offer a pool: connections to workers, and what a round's blocks have in common.

Ray starts the workers, whatever the transport. ``sockets.Sockets`` carries blocks over sockets of ours,
``objects.Objects`` through Ray's object store. The pool asks neither which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...core.errors import WorkerError

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast
    from .crew import Crew

Array = np.ndarray[Any, Any]

IN_FLIGHT = 2  # blocks a worker has at a time: one running, one waiting
METHODS = ("train", "train_sum", "score")


class WorkerLost(WorkerError):
    """A worker is dead, or was given up as hung, or what it sent is lost: its blocks must run again."""


class Connection(Protocol):
    """One worker and the way to it. Used by one thread at a time.

    Attributes:
        pid: The worker's process, on its own machine; 0 until it is there.
        connected: Whether the worker is there.
    """

    pid: int

    @property
    def connected(self) -> bool: ...

    def connect(self, seconds: float) -> bool:
        """Return whether the worker is there by now, after waiting for it.

        Raises:
            WorkerLost: It died before.
        """

    def submit(self, method: str, broadcast: Broadcast, block: Array) -> None:
        """Hand a block to the worker; at most ``IN_FLIGHT`` before their results are fetched.

        Raises:
            WorkerLost: The worker died.
        """

    def fetch(self, homes: Sequence[Array]) -> None:
        """Write the oldest block's arrays to where they belong.

        Raises:
            WorkerLost: The worker died, or took longer than its patience.
            GauntletError: The worker raised.
        """

    def replace(self) -> None:
        """Start a new worker in place of a lost one."""

    def close(self) -> None:
        """End the worker."""

    def leave(self) -> None:
        """Let the worker rest for another run if it has done all that it was asked for, else end it."""


class Transport(Protocol):
    """A way for blocks to travel.

    Attributes:
        actor: The class that Ray starts a worker of; its ``begin`` takes what ``worker.Worker`` takes.
    """

    @property
    def actor(self) -> type: ...

    def connection(self, crew: Crew, broadcast: Broadcast) -> Connection:
        """Hire a worker, and return the way to it.

        Args:
            crew: Where actors of ``actor`` come from.
            broadcast: A broadcast of the run, for how many parameters and buffers there are.
        """

    def sharing(self, broadcast: Broadcast) -> AbstractContextManager[None]:
        """Hold what all of a round's blocks receive ready for the workers, while the context lasts.

        Raises:
            WorkerError: There is no room for it.
        """


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
