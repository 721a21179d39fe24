"""Workers that are killed, die or hang in the middle of a run: replaced, with the same bits, or one line."""

import os
import signal
import time
from functools import partial

import pytest
from whole_runs import fields, last

from gauntlet.clients.pools.ray import RayPool
from gauntlet.core.errors import WorkerError
from gauntlet.core.trees import equal
from gauntlet.server.assembly.training import make_kernel
from gauntlet.server.simulation import prepare


@pytest.mark.parametrize("transport", ["socket", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_killed_worker_is_replaced_and_nothing_changes(busy, ray_here, transport):
    simulation = prepare(busy)
    serial = last(simulation, simulation.serial_pool())
    pool = simulation.ray_pool(2, transport=transport)
    steps = simulation.steps(pool)
    next(steps)
    there = max(connection.pid for connection in pool._connections)  # 0 where a worker has not called yet
    os.kill(there, signal.SIGKILL)
    *_, step = steps
    pool.close()

    assert equal(fields(step.state), fields(serial.state))


class Doomed:
    """A kernel that takes its process with it."""

    def train(self, broadcast, client_ids):
        time.sleep(0.1)
        os._exit(1)


def doom(data):
    return Doomed()


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_workers_that_always_die_end_the_run_with_one_line(small, ray_here, transport):
    simulation = prepare(small())
    import ray

    ray.cloudpickle.register_pickle_by_value(__import__(doom.__module__, fromlist=["x"]))
    pool = RayPool(doom, simulation.data, 1, transport=transport)
    with pytest.raises(WorkerError, match="workers die without finishing a block"):
        next(simulation.steps(pool))
    pool.close()


class Sleepy:
    """A kernel that hangs in the first process that it finds, and works in the next."""

    def __init__(self, kernel, marker):
        self.kernel, self.marker = kernel, marker

    def train(self, broadcast, client_ids):
        if not self.marker.exists():
            self.marker.touch()
            time.sleep(3600)
        return self.kernel.train(broadcast, client_ids)


def lull(marker, spec, data):
    return Sleepy(make_kernel(spec, data), marker)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_a_hung_worker_is_replaced_and_nothing_changes(small, ray_here, tmp_path, transport):
    import ray

    ray.cloudpickle.register_pickle_by_value(__import__(lull.__module__, fromlist=["x"]))
    simulation = prepare(small())
    serial = last(simulation, simulation.serial_pool())
    build = partial(lull, tmp_path / "marker", simulation.spec)
    pool = RayPool(build, simulation.data, 2, None, 1, 8.0, 0.0, simulation.scoring, transport)
    on_ray = last(simulation, pool)

    assert (tmp_path / "marker").exists()
    assert equal(fields(on_ray.state), fields(serial.state))
