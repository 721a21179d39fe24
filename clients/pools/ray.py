"""Clients on Ray actors: this machine by default, a cluster with an address.

Data go into the object store once and are read in place; the broadcast goes in once a round; each
worker builds its model once. A worker that dies is replaced and its blocks run again, with the same
result, since a block's randomness depends on nothing but (seed, round, client).
"""

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...core.errors import GauntletError, WorkerError
from ...core.updates import Updates
from ..data.base import FederatedData
from ..kernel import BlockKernel, Broadcast, Trained, one_thread
from .base import blocks, join

BuildKernel = Callable[[FederatedData], BlockKernel]
"""Builds a worker's kernel from the shared data: a module's function, or a partial of one."""

_IN_FLIGHT = 2  # blocks a worker has at a time: one running, one waiting
_LOSSES = 3  # workers lost without a single block in between before the pool gives up


def start_ray(address: str | None = None, num_workers: int | None = None) -> None:
    """Start Ray on this machine, or join the cluster at ``address``, unless that was done before.

    Raises:
        WorkerError: There is no cluster at ``address``.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        if ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address:
            options["address"] = address
        else:
            options |= {"num_cpus": max(num_workers or 0, _cores()), "include_dashboard": False}
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(f"Ray cannot be reached at {address or 'this machine'}: {error}") from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """The actor: a kernel on one thread, arrays in, arrays out."""

    def __init__(self, build: BuildKernel, data: FederatedData) -> None:
        with one_thread():
            self._kernel = build(data)

    def train(self, broadcast: tuple[int, Any, Any], client_ids: np.ndarray[Any, Any]) -> list[Any]:
        round_, params, buffers = broadcast
        with one_thread():
            # A copy: what Ray hands out is read-only, and a model must not be tied to it.
            received = Broadcast(round_, torch.from_numpy(params.copy()), torch.from_numpy(buffers.copy()))
            trained = self._kernel.train(received, client_ids)
        u = trained.updates
        sent = (u.vectors, u.client_ids, u.num_examples, u.buffers, trained.losses, trained.norms)
        return [t.numpy() for t in sent]


def _trained(blocks_: list[list[Any]]) -> list[Trained]:
    """Return the cohort as one part: consecutive blocks joined, out of the read-only store, by one copy."""
    if not blocks_:
        return []
    joined = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*blocks_, strict=True))
    vectors, ids, counts, buffers, losses, norms = joined
    return [Trained(Updates(vectors, ids, counts, buffers=buffers), losses, norms)]


class RayPool:
    """Train blocks on ``num_workers`` actors of one thread each."""

    def __init__(
        self,
        build: BuildKernel,
        data: FederatedData,
        num_workers: int | None = None,
        address: str | None = None,
        stacked: bool = False,
        patience: float | None = None,
    ) -> None:
        """Start the workers.

        Args:
            build: Makes a worker's kernel.
            data: The clients' data, shared by all workers of a node.
            num_workers: Actors to start, at least 1; every core by default.
            address: A Ray cluster to join instead of this machine.
            stacked: Whether the kernels stack the clients of a block.
            patience: Seconds without any finished block after which the slowest worker counts as hung and is
                replaced, above 0; None waits for ever.

        Raises:
            WorkerError: Ray cannot be started or reached.
        """
        start_ray(address, num_workers)
        import ray

        self._stacked, self._patience = stacked, patience
        self._ray, self._build, self._data = ray, build, ray.put(data)
        self._actor = ray.remote(num_cpus=1)(_Worker)
        count = num_workers or int(ray.cluster_resources().get("CPU", 1))
        self._workers = [self._start() for _ in range(count)]

    def _start(self) -> Any:
        return self._actor.remote(self._build, self._data)

    def train(self, broadcast: Broadcast, cohort: np.ndarray[Any, Any], expected_size: float) -> Trained:
        sent = self._ray.put((broadcast.round, broadcast.params.numpy(), broadcast.buffers.numpy()))
        parts = self._run(sent, blocks(cohort, self._stacked))
        return join(parts, broadcast, expected_size)

    def _run(self, sent: Any, todo: list[np.ndarray[Any, Any]]) -> list[Trained]:
        """Return the blocks' results, joined in the blocks' order, whoever computed them and when."""
        waiting, done = deque(range(len(todo))), dict[int, list[Any]]()
        flying: dict[Any, tuple[int, int]] = {}  # task -> (block, worker)
        losses = 0
        while len(done) < len(todo):
            self._feed(sent, todo, waiting, flying)
            ready, _ = self._ray.wait(list(flying), timeout=self._patience)
            task = ready[0] if ready else self._give_up(next(iter(flying)), flying)
            block, worker = flying.pop(task)
            try:
                done[block] = self._ray.get(task)
                losses = 0
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                losses += 1
                waiting.appendleft(block)
                self._replace(worker, flying, waiting, losses, error)
            except self._ray.exceptions.RayTaskError as error:
                raise cause_of(error) from error
        return _trained([done[block] for block in range(len(todo))])

    def _feed(
        self,
        sent: Any,
        todo: list[np.ndarray[Any, Any]],
        waiting: deque[int],
        flying: dict[Any, tuple[int, int]],
    ) -> None:
        """Hand out blocks: the least busy worker first, none above its share."""
        load = [0] * len(self._workers)
        for _, worker in flying.values():
            load[worker] += 1
        while waiting and min(load) < _IN_FLIGHT:
            worker, block = load.index(min(load)), waiting.popleft()
            flying[self._workers[worker].train.remote(sent, todo[block])] = (block, worker)
            load[worker] += 1

    def _give_up(self, task: Any, flying: dict[Any, tuple[int, int]]) -> Any:
        """Kill the worker that has had its block for longest while no block came back; return its task."""
        self._ray.kill(self._workers[flying[task][1]])
        return task

    def _replace(
        self,
        worker: int,
        flying: dict[Any, tuple[int, int]],
        waiting: deque[int],
        losses: int,
        error: Exception,
    ) -> None:
        """Start a new worker in place of a dead one, and take back what it had been given."""
        if losses > _LOSSES:
            raise WorkerError(
                f"workers die without finishing a block: {str(error).splitlines()[0]}"
            ) from error
        for task in [t for t, (_, w) in flying.items() if w == worker]:
            waiting.appendleft(flying.pop(task)[0])
        self._workers[worker] = self._start()

    def close(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers = []


def cause_of(error: Any) -> Exception:
    """Return our own error if a worker raised one, else one line about what it raised."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, GauntletError):
        return type(cause)(str(cause).splitlines()[0])
    return WorkerError(f"a worker raised {type(cause).__name__}: {cause}")
