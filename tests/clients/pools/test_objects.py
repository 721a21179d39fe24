"""Blocks through Ray's object store: the errors that sockets bring, no port, and no memory kept."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools import crew
from gauntlet.clients.pools.connection import WorkerLost
from gauntlet.clients.pools.objects import Objects
from gauntlet.clients.pools.ray import RayPool, transport_for
from gauntlet.clients.pools.sockets import Sockets
from gauntlet.core.errors import DataError, GauntletError, PluginError, ScenarioError, WorkerError

LENGTH = 2**18  # of a message: 1 MiB, which Ray keeps in its store and not in its answer to a call
ROUND = Broadcast(0, torch.arange(float(LENGTH)), torch.zeros(0))


class Unheard(Exception):
    """An error of a plug-in's own, which the driver could not unpickle."""

    def __reduce__(self):
        raise TypeError("cannot be pickled")


class Kernel:
    """Sends each client's id times the parameters, plus what it remembers; some clients misbehave."""

    def train(self, broadcast, ids):
        if 97 in ids:
            raise PluginError("attack 'mine' raised\nwith details")
        if 98 in ids:
            raise Unheard("nothing to divide by\nwith details")
        if 99 in ids:
            time.sleep(60)
        k, memory = len(ids), broadcast.memory
        vectors = torch.from_numpy(ids).float()[:, None] * broadcast.params
        memory = memory if memory.numel() else torch.zeros(k, 0)
        vectors[:, : memory.shape[1]] += memory
        broadcast.params.add_(1)  # as code from outside may
        numbers = [np.zeros(k, dtype) for dtype in (np.int64, np.float32, np.float64, np.float64)]
        return SimpleNamespace(arrays=lambda: [vectors.numpy(), np.zeros((k, 0)), *numbers, memory.numpy()])


def build(data):
    return Kernel()


def no_kernel(data):
    raise DataError("the file is gone\nwith details")


def listening(pid):
    """The inodes of the TCP sockets on which a process listens."""
    held = set()
    for place in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(place).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    text = "".join(Path("/proc/net", name).read_text() for name in ("tcp", "tcp6"))
    lines = [line.split() for line in text.splitlines()]
    return {line[9] for line in lines if line[3] == "0A" and line[9] in held}


@pytest.fixture(scope="module")
def by_value(ray_here):
    """Workers cannot import this file."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


# ---- pools of their own, before others take the two CPUs ----------------------------------------------


@pytest.mark.slow
def test_a_kernel_that_cannot_be_built_ends_the_run_at_once_with_one_line(by_value):
    pool = RayPool(no_kernel, None, 1, transport="ray")
    with pytest.raises(DataError, match=r"^the file is gone$"):
        pool.train(ROUND, np.arange(2), 2.0)
    pool.close()


@pytest.mark.slow
def test_a_worker_that_takes_longer_than_its_patience_is_lost(by_value):
    pool = RayPool(build, None, 1, patience=0.5, transport="ray")
    pool.train(ROUND, np.arange(1), 1.0)
    (connection,) = pool._connections
    connection.submit("train", replace(ROUND, params=torch.zeros(1)), np.array([99]))
    with pytest.raises(WorkerLost, match="GetTimeoutError"):
        connection.fetch([])
    pool.close()
    resting = [actor for actors in crew._resting.values() for actor in actors]
    assert connection._actor not in resting  # whoever got it next would wait for a minute


# ---- one worker over either transport ------------------------------------------------------------------


@pytest.fixture(scope="module")
def pools(by_value):
    """Return a pool of one worker by its transport, with the sockets on which the driver listens for it."""
    made = {}

    def make(transport):
        if transport not in made:
            before = listening(os.getpid())
            pool = RayPool(build, None, 1, transport=transport)
            pool.train(ROUND, np.arange(8), 8.0)
            made[transport] = pool, listening(os.getpid()) - before
        return made[transport]

    yield make
    for pool, _ in made.values():
        pool.close()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc on this system")
@pytest.mark.parametrize(("transport", "doors"), [("ray", 0), ("socket", 1)])
def test_nobody_listens_on_a_port_of_ours(pools, transport, doors):
    """A process of Ray's listens on one port of Ray's; over sockets the driver adds one for each worker."""
    pool, added = pools(transport)

    assert len(added) == doors
    assert [len(listening(connection.pid)) for connection in pool._connections] == [1]


def store_bytes():
    """What Ray's store on this node holds."""
    import ray
    from ray._private.internal_api import node_stats

    node = ray.nodes()[0]
    place = node["NodeManagerAddress"], node["NodeManagerPort"]
    return node_stats(*place, include_memory_info=False).store_stats.object_store_bytes_used


def test_the_store_holds_nothing_of_a_round_that_is_over(pools):
    """Eight clients of 1 MiB each and 1 MiB of parameters: rounds that stayed would be 9 MiB each."""
    one, _ = pools("ray")
    memory, before, held = torch.ones(8, LENGTH), store_bytes(), []
    for number in range(4):
        trained = one.train(replace(ROUND, round=number, memory=memory), np.arange(8), 8.0)
        held.append(one._transport.round[1])
    end = time.monotonic() + 10
    while store_bytes() > before + 2**16 and time.monotonic() < end:
        time.sleep(0.05)  # Ray frees within moments

    assert held == [None] * 4
    assert store_bytes() <= before + 2**16
    assert trained.updates.vectors.shape == (8, LENGTH)


@pytest.mark.parametrize("transport", ["ray", "socket"])
def test_memory_travels_with_its_block_and_nobody_else_sees_what_a_worker_wrote(pools, transport):
    """By hand: client i sends i times the first parameter, 0 at first and i in the i-th block, plus i.

    The kernel adds 1 to the parameters that it was given. They are its worker's own, over either transport:
    the worker's next block of the round sees that, and neither the driver nor a later round.
    """
    one, _ = pools(transport)
    memory = torch.arange(4.0)[:, None] * torch.ones(4, 2)
    for number in range(2):
        sent = replace(ROUND, round=number, params=ROUND.params.clone(), memory=memory)
        trained = one.train(sent, np.arange(4), 4.0)
        assert torch.equal(trained.updates.vectors[:, 0], torch.tensor([0.0, 2.0, 6.0, 12.0]))
        assert torch.equal(trained.memory, memory)
        assert torch.equal(sent.params, ROUND.params)


@pytest.mark.parametrize(
    ("client", "kind", "line"),
    [
        (97, PluginError, "attack 'mine' raised"),
        (98, WorkerError, "a worker raised Unheard: nothing to divide by"),
    ],
)
def test_an_error_of_the_kernel_is_one_line_of_its_own_kind(pools, client, kind, line):
    """The error itself stays where it was raised: one that cannot be pickled is told like any other."""
    one, _ = pools("ray")
    with pytest.raises(GauntletError) as caught:
        one.train(ROUND, np.array([client]), 1.0)
    assert (type(caught.value), str(caught.value)) == (kind, line)


@pytest.fixture(scope="module")
def told():
    """What each fault of Ray's store came to, by the fault's name: the lines that its process said."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    env.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:  # a short name
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("ray_faults.py"))],
            capture_output=True,
            text=True,
            env={**env, "RAY_TMPDIR": folder},
            timeout=480,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for fault in done.stdout.split("fault ")[1:]:
        name, *lines = fault.splitlines()
        assert "ended 0" in lines, (name, done.stderr[-2000:])
        found[name] = [line.removeprefix("said ") for line in lines if line.startswith("said ")]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("spilled", ["[0.0, 1.0, 4.0, 9.0, 16.0, 25.0]"]),
        (
            "full",
            [
                "Ray's object store has no room for what a block comes to: Local disk is full; "
                "start Ray with a larger store, or make room on its disk"
            ],
        ),
        ("lost", ["lost 0", "[3.0]"]),
    ],
)
def test_what_can_happen_to_the_store(fault, said, told):
    """A store too small for a round goes on the disk; with that full too, one line. A node that dies with a
    result takes it along, and the block runs again. By hand: client i sends i times the parameters, to which
    its worker added 1 for each client before it."""
    assert told[fault] == said


@pytest.mark.parametrize(
    ("name", "address", "kind"),
    [
        ("auto", None, Sockets),
        ("auto", "10.0.0.1:6379", Objects),
        ("socket", None, Sockets),
        ("socket", "10.0.0.1:6379", Sockets),
        ("ray", None, Objects),
        ("ray", "10.0.0.1:6379", Objects),
    ],
)
def test_auto_takes_sockets_on_a_ray_of_our_own_and_the_object_store_on_a_cluster(
    monkeypatch, name, address, kind
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert type(transport_for(name, address, None)) is kind


def test_an_unknown_transport_is_refused_with_the_nearest_name():
    with pytest.raises(ScenarioError, match="unknown transport 'sokcet'; did you mean 'socket'"):
        transport_for("sokcet", None, None)
