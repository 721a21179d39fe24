"""Clients on Ray actors: this machine by default, a cluster with an address.

Data go into the object store once and are read in place; the broadcast goes to each worker once a round;
each worker builds its model once. A worker that dies is replaced and its blocks run again, with the same
result, since a block's randomness depends on nothing but (seed, round, client).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ...core.errors import GauntletError, ScenarioError, WorkerError, unknown
from ..scoring.scorer import Answers, Scoring
from .base import Array, Rows, Sums, block_broadcasts, blocks
from .connection import IN_FLIGHT, Connection, Transport, WorkerLost, first_line
from .crew import Crew
from .local_ray import LOOPBACK, join, start_local
from .objects import Objects
from .sockets import Sockets
from .waiting import WaitingBlocks

if TYPE_CHECKING:
    from ..data.base import FederatedData
    from ..exchange.messages import Broadcast, Summed, Trained
    from .worker import BuildKernel

TransportName = Literal["auto", "socket", "ray"]
EVEN_SHARE = -1.0  # of the GPUs, in the place of a worker's number of them
HIRING = 120  # seconds without a single worker after which the pool gives up
_LOSSES = 3  # workers lost in a row by one connection, without a block in between, before it is given up
_POLL = 0.02  # seconds that a connection waits for its worker before it asks whether work is left


def start_ray(address: str | None = None, num_workers: int | None = None) -> None:
    """Start Ray on this machine, or join the cluster at ``address``, unless that was done before.

    Args:
        address: Where the cluster is; by default what ``RAY_ADDRESS`` says. Without either a new one is
            started, whatever others run here or left behind.
        num_workers: How many CPUs such a cluster has at least.

    Raises:
        WorkerError: There is no cluster at ``address``.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    place = cluster(address)
    with warnings.catch_warnings(), _handlers_kept():
        warnings.simplefilter("ignore")
        if "ray" in sys.modules:
            import ray

            if ray.is_initialized():
                return
        try:
            if place is None:
                start_local(max(num_workers or 0, _cores()))
            else:
                join(place)
        except GauntletError:
            raise
        except Exception as error:  # a Ray that does not come up in time raises no other class
            raise WorkerError(f"Ray cannot be reached at {place or 'local'}: {first_line(error)}") from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep what this process does on SIGTERM, if it does anything: Ray would exit from wherever it is."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def cluster(address: str | None) -> str | None:
    """Return the cluster at ``address``, or that of ``RAY_ADDRESS``; None for a new one on this machine."""
    named = address or os.environ.get("RAY_ADDRESS")
    return named if named and named != "local" else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def staff(resources: Mapping[str, float], num_workers: int | None, gpus: float) -> tuple[int, float]:
    """Return how many workers are started, and how many GPUs each of them is given.

    Args:
        resources: What Ray has, by its names.
        num_workers: How many are wanted; None leaves it open.
        gpus: GPUs a worker, or ``EVEN_SHARE``, or 0.

    Raises:
        WorkerError: Ray has not as many GPUs.
    """
    there = resources.get("GPU", 0.0)
    if gpus == 0:
        return num_workers or int(resources.get("CPU", 1)), 0.0
    if gpus == EVEN_SHARE:
        count = num_workers or max(1, int(there))
        each = there / count
        gpus = (
            float(int(each)) if each > 1 else int(each * 1000) / 1000
        )  # Ray takes parts of one, or whole ones
    else:
        count = num_workers or max(1, int(there / gpus))
    if there == 0 or gpus * count > there + 1e-9:
        raise WorkerError(f"{count} workers need {max(gpus, 0.001) * count:g} GPUs, and Ray finds {there:g}")
    return count, gpus


def transport_for(name: TransportName, address: str | None, patience: float | None) -> Transport:
    """Return the transport of that name.

    Args:
        name: ``"auto"`` takes sockets on a Ray of our own, and Ray's object store on any cluster that is
            joined: its nodes come and go, so that nobody knows which of them a worker will be on, nor whether
            it can reach the driver's ports.
        address: The cluster to join, if any.
        patience: Seconds that a block may take; None waits for ever.

    Raises:
        ScenarioError: There is no such transport.
    """
    if name not in (names := get_args(TransportName)):
        raise ScenarioError(unknown("transport", name, names))
    joined = cluster(address)
    if name == "ray" or (name == "auto" and joined):
        return Objects(patience)
    import ray

    return Sockets(ray.util.get_node_ip_address() if joined else LOOPBACK, patience)


class RayPool:
    """Do blocks on ``num_workers`` actors of one thread each, fed by one thread each."""

    def __init__(
        self,
        build: BuildKernel,
        data: FederatedData,
        num_workers: int | None = None,
        address: str | None = None,
        height: int = 1,
        patience: float | None = None,
        gpus: float = 0.0,
        scoring: Scoring | None = None,
        transport: TransportName = "auto",
    ) -> None:
        """Start the workers.

        Args:
            build: Makes a worker's kernel.
            data: The clients' data, shared by all workers of a node.
            num_workers: Actors to start, at least 1; by default one a core, or one a GPU where GPUs are used.
            address: A Ray cluster to join instead of this machine.
            height: How many clients the kernels stack at most; 1 for one at a time.
            patience: Seconds that a block may take before its worker counts as hung and is replaced, above
                0; None waits for ever.
            gpus: GPUs that a worker needs, as Ray counts them: a part of one, or whole ones; ``EVEN_SHARE``
                deals all there are out among the workers.
            scoring: What the workers need to score models; None where they are asked for none.
            transport: How blocks travel, see ``transport_for``.

        Raises:
            WorkerError: Ray cannot be started or reached, or has not as many GPUs.
        """
        start_ray(address, num_workers)
        import ray

        self._height, self._closed, self._failed = height, False, False
        self._transport = transport_for(transport, address, patience)
        self._count, gpus = staff(ray.cluster_resources(), num_workers, gpus)
        self._examples = None if scoring is None else scoring.examples
        scored = () if scoring is None else (scoring.build, ray.put(scoring.examples))
        self._crew = Crew(self._transport.actor, (build, ray.put(data), *scored), gpus)
        self._connections: list[Connection] = []
        self._idle_since = monotonic()
        self._threads = ThreadPoolExecutor(self._count, "connection")

    def train(self, broadcast: Broadcast, cohort: Array, expected_size: float) -> Trained:
        cut = blocks(cohort, self._height)
        rows = Rows(broadcast, cohort, cut)
        self._run("train", broadcast, cut, rows)
        return rows.result(expected_size)

    def train_sum(self, broadcast: Broadcast, cohort: Array) -> Summed:
        cut = blocks(cohort, self._height)
        sums = Sums(broadcast, cohort, cut)
        self._run("train_sum", broadcast, cut, sums)
        return sums.result()

    def score(self, broadcast: Broadcast) -> Answers:
        assert self._examples is not None, "a pool without examples is asked for no score"
        answers = Answers(self._examples)
        cut = [np.array([number]) for number in range(len(answers))]
        self._run("score", broadcast, cut, answers)
        return answers

    def _run(
        self, method: str, broadcast: Broadcast, cut: list[Array], gather: Rows | Sums | Answers
    ) -> None:
        """Have every block done, whoever does it and when."""
        if not self._connections:
            connection = self._transport.connection
            self._connections = [connection(self._crew, broadcast) for _ in range(self._count)]
        work, sent = WaitingBlocks(len(cut)), block_broadcasts(broadcast, cut)

        def drive(connection: Connection) -> None:
            flying, losses = deque[int](), 0
            while work.undone:
                try:
                    if not self._ready(connection):
                        continue  # until the others have done every block
                    while self._may_take(flying, work) and (block := work.take()) is not None:
                        flying.append(block)  # noted first: a worker can be lost while it takes a block
                        connection.submit(method, sent[block], cut[block])
                    if flying:
                        connection.fetch(gather.homes(flying[0]))
                        flying.popleft()
                        work.done()
                    else:
                        work.pause()
                    losses = 0
                except WorkerLost as error:
                    losses += 1
                    work.give_back(flying)
                    flying.clear()
                    self._idle_since = monotonic()
                    if losses > _LOSSES or self._closed:
                        return self._give_up(connection, error)
                    connection.replace()

        with self._transport.sharing(broadcast):
            self._until_done(drive, work)

    def _until_done(self, drive: Callable[[Connection], None], work: WaitingBlocks) -> None:
        """Drive every connection until every block is done."""
        driven = [self._threads.submit(drive, connection) for connection in list(self._connections)]
        try:
            for done in wait(driven, return_when=FIRST_EXCEPTION).done:
                done.result()
        except BaseException:
            self._failed = True
            work.stop()  # or a connection without a worker would wait for ever to help
            raise

    def _may_take(self, flying: deque[int], work: WaitingBlocks) -> bool:
        """Return whether a worker takes one more block: ahead of time only where each of them finds one."""
        return not flying or (len(flying) < IN_FLIGHT and len(work) >= len(self._connections))

    def _give_up(self, connection: Connection, error: WorkerLost) -> None:
        """Go on without a connection that keeps losing its workers.

        Raises:
            WorkerError: It was the last one.
        """
        self._connections.remove(connection)
        connection.close()
        if self._closed or not self._connections:
            raise WorkerError(f"workers die without finishing a block: {error}") from error

    def _ready(self, connection: Connection) -> bool:
        """Return whether the connection has a worker by now.

        Raises:
            WorkerError: None has had one for too long.
        """
        others = any(other.connected for other in list(self._connections))
        if connection.connect(_POLL):
            self._idle_since = monotonic()
            return True
        if monotonic() - self._idle_since > HIRING and not others:
            raise WorkerError(f"Ray started no worker within {HIRING} seconds: it has no CPU left for one")
        return False

    def close(self) -> None:
        self._closed = True
        for connection in self._connections:
            (connection.close if self._failed else connection.leave)()
        self._threads.shutdown(wait=False)
        self._connections = []


def cause_of(error: Any) -> GauntletError:
    """Return our own error if a worker raised one, else one line about what it raised."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, GauntletError):
        return type(cause)(str(cause).splitlines()[0])
    return WorkerError(f"a worker raised {type(cause).__name__}: {cause}")
