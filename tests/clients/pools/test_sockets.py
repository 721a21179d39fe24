"""One worker and its socket: strangers, errors in one line, and a line that breaks."""

import os
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic, sleep

import numpy as np
import pytest
import torch

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools import sockets as module
from gauntlet.clients.pools.connection import WorkerLost
from gauntlet.clients.pools.crew import Crew
from gauntlet.clients.pools.ray import RayPool
from gauntlet.clients.pools.sockets import SocketActor, SocketConnection
from gauntlet.core.errors import DataError, GauntletError, PluginError, WorkerError

ROUND = Broadcast(0, torch.arange(3.0), torch.zeros(0))


class Answer:
    def __init__(self, *arrays):
        self._arrays = arrays

    def arrays(self):
        return self._arrays


class Echo:
    """Answers with the parameters' sum times each id; client 7 breaks a rule, client 8 breaks down."""

    def train(self, broadcast, client_ids):
        if 7 in client_ids:
            raise PluginError("client 7 has no data\nwith details")
        if 8 in client_ids:
            raise ZeroDivisionError("nothing to divide by\nwith details")
        return Answer(client_ids * float(broadcast.params.sum()))


def echo(data):
    return Echo()


def echo_once_there(path, data):
    """An ``Echo`` whose worker calls once a file is there."""
    while not path.exists():
        sleep(0.01)
    return Echo()


def no_kernel(data):
    raise DataError("the file is gone\nwith details")


def no_memory(data):
    raise MemoryError("no room for the model")


@contextmanager
def connection_to(build):
    import ray

    ray.cloudpickle.register_pickle_by_value(__import__(echo.__module__, fromlist=["x"]))
    connection = SocketConnection(Crew(SocketActor, (build, None)), "127.0.0.1", ROUND, patience=30.0)
    yield connection
    connection.close()


@pytest.fixture
def connection(ray_here):
    """A connection to an ``Echo``, and how to start it again; its worker may not have called yet."""
    with connection_to(echo) as connection:
        yield connection


def connect(connection):
    end = monotonic() + 60
    while not connection.connect(0.5):
        assert monotonic() < end


def works(connection):
    connection.submit("train", ROUND, np.array([1, 2]))
    home = np.zeros(2)
    connection.fetch([home])
    return home.tolist() == [3.0, 6.0]


def reset(line):
    """Hang up so that the other side's next read fails."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def test_strangers_at_the_door_are_turned_away_and_the_connection_still_works(ray_here, tmp_path):
    """One with a wrong token, one with half a token, a mute one, one that hangs up with a reset."""
    all_there = tmp_path / "all_there"
    with connection_to(partial(echo_once_there, all_there)) as connection:
        address = connection._door.getsockname()
        wrong, half, mute, gone = strangers = [socket.create_connection(address, 60) for _ in range(4)]
        wrong.sendall(bytes(36))
        half.sendall(connection._token[:16])
        half.shutdown(socket.SHUT_WR)
        mute.shutdown(socket.SHUT_WR)
        reset(gone)
        all_there.touch()
        assert [connection.connect(10.0) for _ in range(4)] == [False] * 4
        connect(connection)

        assert works(connection)
        assert [s.recv(1) for s in (wrong, half, mute)] == [b"", b"", b""]
        for stranger in strangers:
            stranger.close()


def test_a_stranger_cannot_come_in_once_the_worker_is_there(connection):
    connect(connection)
    with socket.create_connection(connection._door.getsockname()) as stranger:
        stranger.sendall(b"\0" * 100)
        assert works(connection)


def test_an_error_of_the_kernel_is_one_line_of_its_own_kind_and_the_connection_works_on(connection):
    connect(connection)
    for client, kind, line in (
        (7, PluginError, "client 7 has no data"),
        (8, WorkerError, "a worker raised ZeroDivisionError: nothing to divide by"),
    ):
        connection.submit("train", ROUND, np.array([client]))
        with pytest.raises(GauntletError) as caught:
            connection.fetch([np.zeros(1)])
        assert (type(caught.value), str(caught.value)) == (kind, line)
    assert works(connection)


@pytest.mark.parametrize(
    ("build", "kind", "line"),
    [
        (no_kernel, DataError, "the file is gone"),
        (no_memory, WorkerError, "a worker raised MemoryError: no room for the model"),
    ],
)
def test_a_kernel_that_cannot_be_built_ends_the_run_at_once_with_one_line(ray_here, build, kind, line):
    import ray

    ray.cloudpickle.register_pickle_by_value(__import__(build.__module__, fromlist=["x"]))
    pool = RayPool(build, None, 1)
    with pytest.raises(GauntletError) as caught:
        pool.train(ROUND, np.arange(2), 2.0)
    pool.close()

    assert (type(caught.value), str(caught.value)) == (kind, line)


# ---- a worker written by hand, that hangs up where the test says ------------------------------------------


class CrewByHand:
    """Hires a worker that is none, and has nobody to dismiss."""

    def __init__(self, speak):
        self._speak = speak

    def hire(self, new=False):
        return ByHand(self._speak), None

    def dismiss(self, actor):
        pass


class ByHand:
    """What a connection holds of an actor: ``serve.remote`` lets a thread of the test speak on the socket."""

    def __init__(self, speak):
        self.serve, self._speak = self, speak

    def remote(self, begun, address, token, *lengths):
        def speak():
            with socket.create_connection(address) as line:
                self._speak(line, token)

        threading.Thread(target=speak, daemon=True).start()


@pytest.fixture
def by_hand():
    connections = []

    def make(speak, patience=5.0):
        connections.append(SocketConnection(CrewByHand(speak), "127.0.0.1", ROUND, patience))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()


HELLO = module._PID.pack(4711)
ASK = module._ASK.size + 3 * 4 + 2 * 8  # bytes: the ask, the parameters, two ids


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0",
        b"\0" + bytes(15),  # all but the last byte of two float64
        b"\1",
        b"\1" + struct.pack("<I", 20)[:3],
        b"\1" + struct.pack("<I", 20),
        b"\1" + struct.pack("<I", 20) + b"PluginError\nno",
    ],
)
def test_a_worker_that_hangs_up_anywhere_in_its_answer_is_a_lost_worker(by_hand, said):
    def speak(line, token):
        line.sendall(token + HELLO)
        line.recv(ASK, socket.MSG_WAITALL)
        line.sendall(said)

    connection = by_hand(speak)
    assert connection.connect(5.0)
    assert connection.pid == 4711
    connection.submit("train", ROUND, np.array([1, 2]))
    with pytest.raises(WorkerLost, match="the worker hung up"):
        connection.fetch([np.zeros(2)])


def test_a_worker_that_is_cut_off_in_a_block_is_a_lost_worker(by_hand):
    def speak(line, token):
        line.sendall(token + HELLO)
        line.recv(ASK, socket.MSG_WAITALL)
        line.sendall(b"\0" + bytes(7))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    connection = by_hand(speak)
    assert connection.connect(5.0)
    connection.submit("train", ROUND, np.array([1, 2]))
    with pytest.raises(WorkerLost):
        connection.fetch([np.zeros(2)])


def test_a_worker_that_stops_in_a_block_is_a_lost_worker_when_patience_ends(by_hand):
    def speak(line, token):
        line.sendall(token + HELLO)
        line.recv(ASK, socket.MSG_WAITALL)
        line.sendall(b"\0" + bytes(7))
        sleep(2.0)

    connection = by_hand(speak, patience=0.2)
    assert connection.connect(5.0)
    connection.submit("train", ROUND, np.array([1, 2]))
    with pytest.raises(WorkerLost, match="timed out"):
        connection.fetch([np.zeros(2)])


def test_a_worker_that_knows_the_token_and_dies_before_its_number_is_no_worker(by_hand):
    connection = by_hand(lambda line, token: line.sendall(token + HELLO[:2]))

    assert not connection.connect(5.0)
    assert not connection.connected


class Rendezvous:
    """Answers once two workers train at the same time."""

    def __init__(self, folder):
        self._folder = folder

    def train(self, broadcast, client_ids):
        (self._folder / f"{broadcast.round}-{os.getpid()}").touch()
        end = monotonic() + 20
        while len(list(self._folder.glob(f"{broadcast.round}-*"))) < 2:
            if monotonic() > end:
                raise WorkerError(f"worker {os.getpid()} waited in vain in round {broadcast.round}")
            sleep(0.01)
        k = len(client_ids)
        shapes = {"f4": (k, 3), "i8": k, "f8": k}
        vectors, examples, norms = (np.zeros(shape, kind) for kind, shape in shapes.items())
        return Answer(vectors, vectors[:, :0], examples, vectors[:, 0].copy(), norms, norms)


def rendezvous(folder, data):
    return Rendezvous(folder)


def test_two_blocks_run_at_the_same_time_on_two_workers(ray_here, tmp_path):
    """Not both on the worker that asks first, one running and one waiting."""
    import ray

    ray.cloudpickle.register_pickle_by_value(__import__(rendezvous.__module__, fromlist=["x"]))
    pool = RayPool(partial(rendezvous, tmp_path), None, 2, height=4)
    for round_ in range(5):
        pool.train(replace(ROUND, round=round_), np.arange(8), 8.0)
    pool.close()

    assert len(list(tmp_path.iterdir())) == 10
