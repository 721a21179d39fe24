"""Ray nodes that come and go, and more workers than there is room for: the run goes on."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

import gauntlet
from gauntlet.clients.pools import crew
from gauntlet.clients.pools import ray as pools
from gauntlet.clients.pools.ray import RayPool
from gauntlet.core.errors import PluginError, WorkerError
from gauntlet.server.assembly.training import make_kernel
from gauntlet.server.simulation import prepare

HERE = Path(__file__).parent


@pytest.fixture
def by_value(ray_here):
    """Workers cannot import this file."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def train(simulation, pool):
    steps = within(120, lambda: list(simulation.steps(pool)))
    pool.close()
    return [step.state.params for step in steps]


@pytest.fixture
def not_our_own(by_value, monkeypatch):
    """Take this Ray for one that others started: workers take CPUs, and end with their run."""
    monkeypatch.setattr(crew, "our_own", lambda: None)


def within(seconds, call):
    """Return what ``call`` returns, or fail where it hangs."""
    found = []

    def run():
        try:
            found.append((call(), None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"nothing came within {seconds} seconds"
    value, error = found[0]
    if error is not None:
        raise error
    return value


def same(a, b):
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.fixture
def apart():
    """Return the environment of a program whose Ray keeps its files, an address among them, elsewhere."""
    root = Path(gauntlet.__file__).parent
    named = [p for p in sys.path if p and (Path(p) / "gauntlet").resolve() == root.resolve()]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*named, os.environ.get("PYTHONPATH", "")])}
    env.pop("RAY_ADDRESS", None)
    # Not pytest's own folder: a socket's name may have 107 characters.
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield {**env, "RAY_TMPDIR": folder}


@pytest.mark.slow
def test_a_cluster_that_others_left_behind_is_not_joined(apart):
    """Ray keeps the address of the newest cluster in a file, which outlives a cluster that was killed."""
    left = Path(apart["RAY_TMPDIR"]) / "ray" / "ray_current_cluster"
    left.parent.mkdir()
    left.write_text("127.0.0.1:1")
    code = "from gauntlet.clients.pools.ray import start_ray; start_ray(num_workers=3); import ray; "
    code += "print(ray.cluster_resources()['CPU'])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=apart, timeout=120
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert float(told.stdout.splitlines()[-1]) >= 3


@pytest.mark.parametrize(
    ("address", "variable", "meant"),
    [
        (None, None, None),
        (None, "", None),
        (None, "local", None),
        (None, "a:1", "a:1"),
        ("b:2", "a:1", "b:2"),
        ("local", "a:1", None),
    ],
)
def test_a_cluster_is_joined_only_where_it_is_named(monkeypatch, address, variable, meant):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert pools.cluster(address) == meant


@pytest.mark.slow
@pytest.mark.parametrize(("transport", "ports"), [("auto", 0), ("socket", 2)])
def test_a_node_that_leaves_takes_no_client_and_no_bit_with_it(apart, transport, ports):
    """Two nodes of one CPU each; one is killed after two of six rounds. The other's worker does the rest.

    By itself a cluster's blocks go through Ray's object store, and the driver listens on no port of ours.
    """
    command = [sys.executable, str(HERE / "two_nodes.py"), transport]
    told = subprocess.run(command, capture_output=True, text=True, env=apart, timeout=240)
    assert told.returncode == 0, told.stderr[-2000:]
    kinds = ("same", "clients", "workers", "ports")
    lines = [line for line in told.stdout.splitlines() if line.split(" ")[0] in kinds]
    assert lines == [
        "same bits True True True True True True",
        f"ports of ours {ports}",
        "clients 8 8 8 8 8 8",
        "workers 2 left 1 of 1",
    ]


@pytest.mark.slow
def test_a_driver_that_nobody_can_call_runs_on_a_cluster_that_it_calls(apart):
    """Through Ray's client the driver is no node: it listens on no port at all."""
    told = subprocess.run(
        [sys.executable, str(HERE / "calling_out.py")], capture_output=True, text=True, env=apart, timeout=240
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.splitlines()[-2:] == ["ports 0", "same bits True True True True True True"]


@pytest.mark.slow
def test_workers_that_find_no_room_neither_hang_the_run_nor_slow_it_down(small, not_our_own):
    """Four workers on two CPUs. A round that waited for the other two would take half a second more."""
    simulation = prepare(small(rounds=12))
    serial = [step.state.params for step in simulation.steps(simulation.serial_pool())]
    pool = simulation.ray_pool(4)
    steps = simulation.steps(pool)
    found, seconds = [], []
    for _ in range(12):
        step = within(120, lambda: next(steps))
        found.append(step.state.params)
        seconds.append(step.seconds)
    connected = sum(connection.connected for connection in pool._connections)
    pool.close()

    assert connected <= 2
    assert same(found, serial)
    assert sorted(seconds)[len(seconds) // 2] < 0.3


def test_a_pool_that_finds_no_room_at_all_says_so_in_one_line(small, not_our_own, monkeypatch):
    import ray

    taken = ray.remote(num_cpus=2)(Holder).remote()
    ray.get(taken.here.remote())
    monkeypatch.setattr(pools, "HIRING", 0.5)
    simulation = prepare(small())
    pool = simulation.ray_pool(1)
    with pytest.raises(WorkerError, match="no CPU left for one"):
        within(60, lambda: next(simulation.steps(pool)))
    pool.close()
    ray.kill(taken)


class Holder:
    def here(self):
        return True


class Touchy:
    """A kernel that works, except where the test says otherwise."""

    def __init__(self, kernel, folder):
        self.kernel, self.folder = kernel, folder

    def train(self, broadcast, client_ids):
        if (self.folder / "refuse").exists():
            raise PluginError("the kernel refuses")
        if (self.folder / "die").exists():
            (self.folder / "die").rename(self.folder / "dying")
            while not (self.folder / "now").exists():
                time.sleep(0.01)
            os._exit(1)
        return self.kernel.train(broadcast, client_ids)


def touchy(folder, spec, data):
    return Touchy(make_kernel(spec, data), folder)


@pytest.mark.slow
def test_an_error_ends_the_run_although_another_connection_still_waits_for_its_worker(
    small, not_our_own, tmp_path
):
    simulation = prepare(small())
    build = partial(touchy, tmp_path, simulation.spec)
    pool = RayPool(build, simulation.data, 3, scoring=simulation.scoring)
    steps = simulation.steps(pool)
    within(120, lambda: next(steps))
    (tmp_path / "refuse").touch()
    pool._connections.sort(
        key=lambda connection: connection.connected
    )  # whoever has no worker is looked at first
    assert not pool._connections[0].connected
    with pytest.raises(PluginError, match="the kernel refuses"):
        within(60, lambda: list(steps))  # the round before the last was finished, and is handed out first
    pool.close()


@pytest.mark.slow
def test_a_worker_lost_in_a_block_longer_than_hiring_may_take_is_replaced(small, by_value, tmp_path):
    simulation = prepare(small(rounds=2))
    serial = [step.state.params for step in simulation.steps(simulation.serial_pool())]
    (tmp_path / "die").touch()
    build = partial(touchy, tmp_path, simulation.spec)
    pool = RayPool(build, simulation.data, 1, scoring=simulation.scoring)

    def pass_hours():
        while not (tmp_path / "dying").exists():
            time.sleep(0.01)
        pool._idle_since -= 10 * pools.HIRING
        (tmp_path / "now").touch()

    threading.Thread(target=pass_hours, daemon=True).start()
    assert same(train(simulation, pool), serial)
