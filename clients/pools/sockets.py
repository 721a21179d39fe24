"""Blocks over sockets of ours: Ray starts and keeps the workers, a socket carries what they do.

A Ray task costs milliseconds and copies its result several times; over a socket a block costs a fraction of
one, and its updates land in the cohort's matrix without a copy in between. The driver listens on a port for
each worker. Both sides know every shape beforehand, so that nothing but numbers travels, and nothing is
unpickled:

    to the worker:  method u8 | round i32 | broadcast follows u8 | extra u32 | ids u32 | S u32
                    | [broadcast] | ids | memory
    to the server:  0 u8 | the block's arrays      or  1 u8 | length u32 | error's name, newline, one line

The ids are those of clients or, where a model is scored, the number of a block of examples. A broadcast
(parameters, buffers, so many extra rows of the algorithm's) travels with its first block on a connection
only; what the block's clients remember, S numbers each, with the block.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..exchange.messages import Broadcast
from ..placement.device import one_thread
from .connection import METHODS, Array, WorkerLost, first_line
from .worker import Actor, raised

if TYPE_CHECKING:
    from .crew import Crew

_ASK, _ERROR, _PID = struct.Struct("<BiBIIII"), struct.Struct("<I"), struct.Struct("<I")
_TOKEN = 32  # bytes


@dataclass(frozen=True)
class Sockets:
    """The transport.

    Attributes:
        host: This machine's address, as the workers will see it.
        patience: Seconds that a block may take before its worker counts as lost; None waits for ever.
    """

    host: str
    patience: float | None

    @property
    def actor(self) -> type:
        return SocketActor

    def connection(self, crew: Crew, broadcast: Broadcast) -> SocketConnection:
        return SocketConnection(crew, self.host, broadcast, self.patience)

    def sharing(self, broadcast: Broadcast) -> AbstractContextManager[None]:
        """Nothing is to be held: a broadcast travels to each worker with the first of its blocks."""
        return nullcontext()


class SocketActor(Actor):
    """A worker that calls the driver back."""

    def serve(
        self, begun: None, address: tuple[str, int], token: bytes, num_params: int, num_buffers: int
    ) -> None:
        """Do the blocks that come over a connection to ``address``, until that ends.

        Args:
            begun: What ``begin`` returned: this fails where that did.
            address: Where the driver listens.
            token: What the driver knows this worker by.
            num_params: Parameters of a broadcast.
            num_buffers: Its buffers.
        """
        received = Broadcast(-1, torch.zeros(num_params), torch.zeros(num_buffers))
        with socket.create_connection(address) as line, one_thread():
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.sendall(token + _PID.pack(os.getpid()))
            while ask := _read_or_end(line, _ASK.size):
                method, round_, follows, *extra_shape, count, width = _ASK.unpack(ask)
                if follows:
                    lengths = num_params, num_buffers, extra_shape
                    params, buffers, extra = (torch.empty(size) for size in lengths)
                    received = Broadcast(round_, params, buffers, extra)
                    for part in (received.params, received.buffers, received.extra):
                        _fill(line, part.numpy())
                ids = np.empty(count, dtype=np.int64)
                _fill(line, ids)
                memory = torch.empty(count, width)
                _fill(line, memory.numpy())
                received = replace(received, memory=memory)
                _answer(line, *self._worker.do(METHODS[method], received, ids))


def _answer(line: socket.socket, told: str, arrays: Sequence[Array]) -> None:
    """Send home what ``Worker.do`` returned."""
    if told:
        line.sendall(b"\1" + _ERROR.pack(len(told.encode())) + told.encode())
        return
    line.sendall(b"\0")
    for array in arrays:
        line.sendall(_bytes(array))


class SocketConnection:
    """A worker and the way to it. Used by one thread at a time."""

    def __init__(self, crew: Crew, host: str, broadcast: Broadcast, patience: float | None) -> None:
        """Hire the worker.

        Args:
            crew: Where workers come from.
            host: This machine's address, as the worker will see it.
            broadcast: A broadcast of the run, for how many parameters and buffers there are.
            patience: Seconds that a block may take before it counts as lost; None waits for ever.
        """
        self._crew, self._host, self._patience = crew, host, patience
        self._lengths = len(broadcast.params), len(broadcast.buffers)
        self._open()

    def _open(self, new: bool = False) -> None:
        self._line: socket.socket | None = None
        self._sent: Broadcast | None = None
        self._flying = 0  # blocks handed over and not fetched
        self.pid = 0  # the worker's process, on its own machine
        self._token = secrets.token_bytes(_TOKEN)
        self._door = socket.create_server((self._host, 0))
        self._actor, begun = self._crew.hire(new)
        address = self._door.getsockname()[:2]
        self._serving = self._actor.serve.remote(begun, address, self._token, *self._lengths)

    @property
    def connected(self) -> bool:
        """Whether the worker has called."""
        return self._line is not None

    def connect(self, seconds: float) -> bool:
        """Return whether the worker has called by now, after waiting for it.

        Raises:
            WorkerLost: The worker died before it called.
        """
        import ray

        if self._line is not None:
            return True
        self._door.settimeout(seconds)
        try:
            line, _ = self._door.accept()
        except TimeoutError:
            if ray.wait([self._serving], timeout=0)[0]:
                self._raise_why()
            return False
        line.settimeout(5.0)
        try:
            greeting = _read(line, _TOKEN + _PID.size)
        except OSError:  # silent for too long, or gone
            greeting = b""
        if hmac.compare_digest(greeting[:_TOKEN], self._token):
            self.pid = _PID.unpack(greeting[_TOKEN:])[0]
            line.settimeout(self._patience)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._line = line
        else:
            line.close()  # a stranger
        return self._line is not None

    def _raise_why(self) -> None:
        """Raise what ended the worker before it called."""
        import ray

        try:
            ray.get(self._serving)
        except (ray.exceptions.RayActorError, ray.exceptions.RayTaskError) as error:
            cause = getattr(error, "cause", None) or error
            raise WorkerLost(first_line(cause)) from error
        raise WorkerLost("the worker ended before it was asked for anything")

    def submit(self, method: str, broadcast: Broadcast, block: Array) -> None:
        """Hand a block to the worker; at most ``IN_FLIGHT`` before their results are fetched.

        Raises:
            WorkerLost: The worker died.
        """
        follows = self._sent is None or not broadcast.is_for_the_round_of(self._sent)
        sizes = *broadcast.extra.shape, len(block), broadcast.memory.shape[1]
        ask = _ASK.pack(METHODS.index(method), broadcast.round, follows, *sizes)
        whole = (broadcast.params, broadcast.buffers, broadcast.extra)
        sent = [part.numpy() for part in whole] if follows else []
        assert self._line is not None, "a worker takes blocks once it is connected"
        self._flying += 1
        try:
            own = block.astype(np.int64), broadcast.memory.numpy()
            for part in (np.frombuffer(ask, dtype=np.uint8), *sent, *own):
                if part.size:
                    self._line.sendall(_bytes(part))
        except OSError as error:
            raise WorkerLost(first_line(error)) from error
        self._sent = broadcast

    def fetch(self, homes: Sequence[Array]) -> None:
        """Write the oldest block's arrays to where they belong.

        Raises:
            WorkerLost: The worker died, or took longer than its patience.
            GauntletError: The kernel raised.
        """
        line = self._line
        assert line is not None
        try:
            if _read(line, 1) == b"\0":
                for home in homes:
                    _fill(line, home)
                self._flying -= 1
                return
            told = _read(line, _ERROR.unpack(_read(line, _ERROR.size))[0]).decode()
        except OSError as error:
            raise WorkerLost(first_line(error)) from error
        raise raised(told)

    def replace(self) -> None:
        """Start a new worker in place of a lost one."""
        self.close()
        self._open(new=True)

    def close(self) -> None:
        """End the worker, and hang up."""
        self._crew.dismiss(self._actor)
        self._hang_up()

    def leave(self) -> None:
        done = self.connected and self._flying == 0
        self._hang_up()
        (self._crew.rest if done else self._crew.dismiss)(self._actor)

    def _hang_up(self) -> None:
        for end in (self._line, self._door):
            if end is not None:
                end.close()


def _bytes(array: Array) -> memoryview | bytes:
    return memoryview(np.ascontiguousarray(array).data).cast("B") if array.size else b""


def _fill(line: socket.socket, home: Array) -> None:
    """Read an array's bytes into it; it is contiguous.

    Raises:
        ConnectionError: The other side hung up.
    """
    if home.size == 0:
        return
    rest = home.data.cast("B")
    while rest:
        count = line.recv_into(rest)
        if count == 0:
            raise ConnectionError("the worker hung up")
        rest = rest[count:]


def _read(line: socket.socket, size: int) -> bytes:
    """Return exactly ``size`` bytes.

    Raises:
        ConnectionError: The other side hung up before them.
    """
    buffer = bytearray(size)
    _fill(line, np.frombuffer(buffer, dtype=np.uint8))
    return bytes(buffer)


def _read_or_end(line: socket.socket, size: int) -> bytes:
    """Return exactly ``size`` bytes, or none where the other side hung up before them."""
    try:
        return _read(line, size)
    except ConnectionError:
        return b""
