"""One Ray actor behind a compiled graph: a task costs a fraction of a millisecond instead of several.

The graph's channels are shared memory of a fixed capacity, so a lane is opened again where a larger block
comes. The broadcast travels with a lane's first block of a round only.

Source: Ray Compiled Graphs, https://docs.ray.io/en/latest/ray-core/compiled-graph/ray-compiled-graph.html
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...core.errors import WorkerError
from ..data.base import FederatedData
from ..kernel import BlockKernel, Broadcast, one_thread

BuildKernel = Callable[[FederatedData], BlockKernel]
"""Builds a worker's kernel from the shared data: a module's function, or a partial of one."""

IN_FLIGHT = 2  # blocks a worker has at a time: one running, one waiting
_SLACK = 1 << 16  # bytes of a message besides its arrays


class LaneLost(WorkerError):
    """The lane's worker is dead, or was given up as hung: its blocks must run again."""


class Worker:
    """The actor: a kernel on one thread, arrays in, arrays out."""

    def __init__(self, build: BuildKernel, data: FederatedData) -> None:
        with one_thread():
            self._kernel = build(data)
        self._received = Broadcast(-1, torch.zeros(0), torch.zeros(0))

    def run(self, message: tuple[str, int, Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Train one block. ``message``: method, round, (params, buffers) or None, client ids."""
        method, round_, broadcast, client_ids = message
        if broadcast is not None:  # copies: a channel's memory is used again
            params, buffers = (torch.from_numpy(np.array(part)) for part in broadcast)
            self._received = Broadcast(round_, params, buffers)
        with one_thread():
            trained = getattr(self._kernel, method)(self._received, np.array(client_ids))
        arrays: list[np.ndarray[Any, Any]] = trained.arrays()
        return arrays


class Lane:
    """A worker and the way to it. Used by one thread at a time."""

    def __init__(self, start: Callable[[], Any], patience: float | None) -> None:
        """Start the worker; the way to it opens with the first block.

        Args:
            start: Starts an actor of ``Worker``.
            patience: Seconds that a block may take, or None for ever.
        """
        self._start, self._patience = start, patience
        self._actor, self._graph = start(), None
        self._capacity, self._round = 0, -1
        logging.getLogger("ray.dag.compiled_dag_node").setLevel(logging.CRITICAL)  # a dead worker's farewell

    def submit(self, method: str, broadcast: Broadcast, block: np.ndarray[Any, Any]) -> Any:
        """Hand a block to the worker; at most ``IN_FLIGHT`` before their results are fetched.

        Raises:
            LaneLost: The worker died.
        """
        first = self._round != broadcast.round
        sent = (broadcast.params.numpy(), broadcast.buffers.numpy()) if first else None
        message = (method, broadcast.round, sent, block)
        from ray.exceptions import RayError

        try:
            graph = self._graph or self._open()
            task = graph.execute(message)
        except RayError as error:
            raise LaneLost(_line(error)) from error
        self._round = broadcast.round
        return task

    def reserve(self, method: str, broadcast: Broadcast, longest: int) -> None:
        """Make the channels wide enough for a broadcast and for blocks of ``longest`` clients."""
        numbers = len(broadcast.params) + len(broadcast.buffers)
        rows = longest if method == "train" else 2  # sums are float64
        needed = 4 * numbers * max(rows, 1) + 64 * longest + _SLACK
        if needed > self._capacity:
            self._shut()
            self._capacity = needed

    def _open(self) -> Any:
        from ray.dag import InputNode

        wait = -1 if self._patience is None else self._patience
        with InputNode() as message:
            graph = self._actor.run.bind(message)
        self._graph = graph.experimental_compile(
            _submit_timeout=wait, _buffer_size_bytes=self._capacity, _max_inflight_executions=IN_FLIGHT
        )
        return self._graph

    def result(self, task: Any) -> Any:
        """Return a block's arrays: views of the channel, to be copied before the next one is fetched.

        Raises:
            LaneLost: The worker died, or took longer than its patience.
            Exception: What the kernel raised, as Ray wraps it.
        """
        from ray.exceptions import RayActorError, RayChannelError

        try:
            return task.get(timeout=-1 if self._patience is None else self._patience)
        except (RayActorError, RayChannelError) as error:
            raise LaneLost(_line(error)) from error

    def replace(self) -> None:
        """Start a new worker in place of a lost one."""
        self.close()
        self._actor, self._round = self._start(), -1

    def _shut(self) -> None:
        if self._graph is not None:
            self._graph.teardown()
            self._graph, self._round = None, -1

    def close(self) -> None:
        """End the worker."""
        import ray

        ray.kill(self._actor)
        self._shut()


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
