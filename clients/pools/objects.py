"""Blocks through Ray's object store: no port of ours is open, between whatever machines.

The driver puts what all blocks of a round receive into the store once, and Ray brings it to each node once; a
worker copies it from there once a round, so that nothing that writes into it reaches another worker. What a
block's clients remember goes with the block's call. A block's arrays come home as one object: Ray writes
them into the store of the worker's node (a small one goes with the answer to the call) and brings them to the
driver's, where they are copied from the shared memory to where they belong. Sums travel block by block and
are added up by the driver in the blocks' order, since a node's sum would depend on which blocks it did.

Ray's processes pickle and unpickle what they send each other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...core.errors import WorkerError
from ..exchange.messages import Broadcast
from ..placement.device import one_thread
from .base import put
from .connection import Array, WorkerLost, first_line
from .worker import Actor, raised

if TYPE_CHECKING:
    from .crew import Crew


class Objects:
    """The transport. Used by one round at a time."""

    def __init__(self, patience: float | None) -> None:
        """Take the seconds that a block may take before its worker counts as lost; None waits for ever."""
        self.patience = patience
        self._round: tuple[int, Any] = 0, None

    @property
    def actor(self) -> type:
        return ObjectActor

    def connection(self, crew: Crew, broadcast: Broadcast) -> ObjectConnection:
        return ObjectConnection(crew, self)

    @contextmanager
    def sharing(self, broadcast: Broadcast) -> Iterator[None]:
        import ray

        parts = [part.numpy() for part in (broadcast.params, broadcast.buffers, broadcast.extra)]
        with _room_for("a round's parameters"):
            held = ray.put(parts)
        self._round = self._round[0] + 1, held
        try:
            yield
        finally:
            self._round = self._round[0], None  # Ray frees the object once no block needs it any more

    @property
    def round(self) -> tuple[int, Any]:
        """The number of what is shared now, and the object itself."""
        return self._round


class ObjectActor(Actor):
    """A worker that is called."""

    def begin(self, *ingredients: Any) -> None:
        super().begin(*ingredients)
        self._number, self._received = 0, Broadcast(-1, torch.zeros(0), torch.zeros(0))

    def rest(self) -> None:
        del self._received
        super().rest()

    def pid(self, begun: None) -> int:
        """Return the worker's process, once its kernel is built; ``begun``: what began it."""
        return os.getpid()

    def do(
        self, method: str, round_: int, number: int, parts: list[Array], memory: Array, ids: Array
    ) -> tuple[str, list[Array]]:
        """Return what ``Worker.do`` returns of a block.

        Args:
            method: One of ``METHODS``.
            round_: The round.
            number: Tells what is shared from what was shared before.
            parts: Parameters [P], buffers [Q] and extra rows [E, P], in shared memory.
            memory: What the block's clients remember.  # [K, S]
            ids: The block's clients, or the number of a block of examples.
        """
        if number != self._number:
            params, buffers, extra = (torch.from_numpy(part.copy()) for part in parts)
            self._number, self._received = number, Broadcast(round_, params, buffers, extra)
        received = self._received
        if memory.size:
            received = replace(received, memory=torch.from_numpy(memory.copy()))
        with one_thread():
            return self._worker.do(method, received, ids)


class ObjectConnection:
    """A worker that is called through Ray. Used by one thread at a time."""

    def __init__(self, crew: Crew, transport: Objects) -> None:
        """Hire the worker."""
        self._crew, self._transport = crew, transport
        self._open()

    def _open(self, new: bool = False) -> None:
        self.pid = 0  # the worker's process, on its own machine
        self._flying: deque[Any] = deque()
        self._actor, begun = self._crew.hire(new)
        self._greeting = self._actor.pid.remote(begun)

    @property
    def connected(self) -> bool:
        """Whether the worker has answered."""
        return self.pid != 0

    def connect(self, seconds: float) -> bool:
        import ray

        if not self.connected and ray.wait([self._greeting], timeout=seconds)[0]:
            self.pid = _got(self._greeting, None)
        return self.connected

    def submit(self, method: str, broadcast: Broadcast, block: Array) -> None:
        number, shared = self._transport.round
        memory, ids = broadcast.memory.numpy(), block.astype(np.int64)
        with _room_for("what a block's clients remember"):
            call = self._actor.do.remote(method, broadcast.round, number, shared, memory, ids)
        self._flying.append(call)

    def fetch(self, homes: Sequence[Array]) -> None:
        told, arrays = _got(self._flying[0], self._transport.patience)
        self._flying.popleft()  # a block that was lost is not done: its worker must not rest
        if told:
            raise raised(told)
        put(homes, arrays)

    def replace(self) -> None:
        self.close()
        self._open(new=True)

    def close(self) -> None:
        self._flying.clear()
        self._crew.dismiss(self._actor)

    def leave(self) -> None:
        done = self.connected and not self._flying
        (self._crew.rest if done else self._crew.dismiss)(self._actor)


def _got(call: Any, patience: float | None) -> Any:
    """Return what a call returned.

    Raises:
        WorkerLost: The worker died, or took longer, or the object that it returned is lost.
        WorkerError: Ray could not run it there, or not store what it returned.
    """
    import ray

    try:
        with _room_for("what a block comes to"):
            return ray.get(call, timeout=patience)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None) or error
        raise WorkerError(
            f"Ray could not run a block: {type(cause).__name__}: {first_line(cause)}"
        ) from error
    except ray.exceptions.RayError as error:
        raise WorkerLost(f"{type(error).__name__}: {first_line(error)}") from error


@contextmanager
def _room_for(what: str) -> Iterator[None]:
    """Say in one line that Ray has no room left for something.

    Raises:
        WorkerError: It has none, here or, as a task's own cause, on a worker's node.
    """
    import ray

    full = (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError)
    try:
        yield
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        if not isinstance(cause, full):
            raise
        raise WorkerError(
            f"Ray's object store has no room for {what}: {first_line(cause)}; "
            "start Ray with a larger store, or make room on its disk"
        ) from error
