"""Workers that rest between the runs of a process, and what they must not bring along."""

import importlib
import os
import signal
import sys
from functools import partial
from time import monotonic, sleep

import numpy as np
import pytest
import torch

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools import crew
from gauntlet.clients.pools.ray import RayPool
from gauntlet.core.errors import WorkerError

COHORT = np.arange(4)
TRANSPORTS = ["socket", pytest.param("ray", marks=pytest.mark.slow)]


class Factor:
    """A kernel whose sums are its run's factor times the parameters, and whose losses are its process."""

    def __init__(self, data):
        self.factor = data

    def train_sum(self, broadcast, client_ids):
        from gauntlet.clients.exchange.messages import Summed

        if self.factor < 0:
            raise ValueError("no such factor")
        count, total = len(client_ids), broadcast.params.double() * self.factor
        pids = torch.full((count,), float(os.getpid()))
        zero = torch.zeros(count, dtype=torch.float64)
        ids = torch.from_numpy(client_ids)
        return Summed(ids, total, broadcast.buffers.double(), zero.long(), pids, zero, zero, zero.bool())


def build(data):
    return Factor(data)


def run(factor, transport, workers=1):
    """Return a run's sums and the processes that made them."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    pool = RayPool(build, factor, workers, transport=transport)
    try:
        summed = pool.train_sum(Broadcast(0, torch.ones(2), torch.zeros(0)), COHORT)
    finally:
        pool.close()
    return summed, {int(pid) for pid in summed.losses.tolist()}


@pytest.fixture
def rested(ray_here):
    """No worker rests from a test before."""
    for actors in crew._resting.values():
        for actor in actors:
            __import__("ray").kill(actor)
    crew._resting.clear()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_next_run_takes_the_worker_over_with_its_own_kernel_and_data(rested, transport):
    first, here = run(2.0, transport)
    second, there = run(3.0, transport)

    assert here == there
    assert [summed.total.tolist() for summed in (first, second)] == [[8.0, 8.0], [12.0, 12.0]]  # four blocks


@pytest.mark.slow
def test_a_worker_that_died_at_rest_is_replaced(rested):
    _, here = run(2.0, "socket")
    os.kill(*here, signal.SIGKILL)
    found, there = run(3.0, "socket")

    assert here != there
    assert found.total.tolist() == [12.0, 12.0]


def test_workers_of_a_run_that_failed_do_not_rest(rested):
    with pytest.raises(WorkerError, match="ValueError: no such factor"):
        run(-1.0, "socket")

    assert not any(crew._resting.values())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_worker_at_rest_holds_nothing_of_its_run_and_no_cpu(rested, transport):
    import ray

    run(2.0, transport)
    ((actor,),) = crew._resting.values()
    kept = ray.get(actor.__ray_call__.remote(lambda self: set(vars(self))))
    assert kept <= {"_number"}
    end = monotonic() + 10
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"] and monotonic() < end:
        sleep(0.05)
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


def test_elsewhere_than_on_our_own_ray_no_worker_rests(rested, monkeypatch):
    monkeypatch.setattr(crew, "our_own", lambda: None)
    run(2.0, "socket")

    assert not any(crew._resting.values())


def build_by_module(folder, data):
    """A kernel whose factor stands in a module of the user's."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    return Factor(importlib.import_module("my_rule_of_factors").FACTOR)


def test_a_module_of_the_users_that_changed_between_two_runs_is_loaded_anew(rested, tmp_path):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    module, found = tmp_path / "my_rule_of_factors.py", []
    for factor in (
        2.0,
        31.0,
    ):  # of another length: else the compiled file is taken for new
        module.write_text(f"FACTOR = {factor}\n")
        pool = RayPool(partial(build_by_module, str(tmp_path)), None, 1)
        found.append(pool.train_sum(Broadcast(0, torch.ones(1), torch.zeros(0)), COHORT).total.item())
        pool.close()

    assert found == [8.0, 124.0]


def test_what_is_installed_is_nobodys_module():
    from gauntlet.clients.pools.worker import _is_theirs

    ours = (np, torch, pytest, os, importlib, crew, sys.modules["numpy.linalg"])
    assert not any(map(_is_theirs, ours))
    assert _is_theirs(sys.modules[__name__])
