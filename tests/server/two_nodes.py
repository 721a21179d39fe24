"""A program for test_cluster.py: two Ray nodes on this machine, one of which is taken away during a run."""

import logging
import os
import sys
import time
from pathlib import Path

import torch

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

SPEC = RunSpec(
    seed=7,
    rounds=6,
    num_clients=8,
    data=PluginSpec("digits"),
    partition=PluginSpec("iid"),
    model=PluginSpec("mlp", {"hidden": [8], "dropout": 0.2}),
    training=LocalTraining(local_epochs=1, batch_size=16, lr=0.1, momentum=0.5),
    rows=True,
)


def listening(pid: int) -> int:
    """Return on how many TCP sockets a process listens."""
    held = {os.readlink(p) for p in Path(f"/proc/{pid}/fd").iterdir() if p.is_symlink()}
    text = "".join(Path("/proc/net", name).read_text() for name in ("tcp", "tcp6"))
    lines = [line.split() for line in text.splitlines()]
    return len({line[9] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in held})


def main(transport: str) -> None:
    """Run on both nodes, take one away after two of six rounds, and print what the test compares."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    simulation = prepare(SPEC)
    alone = list(simulation.steps(simulation.serial_pool()))

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1}, connect=False)
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    ports = listening(os.getpid())  # of Ray's
    pool = simulation.ray_pool(2, address=cluster.address, transport=transport)
    steps = simulation.steps(pool)
    found = [next(steps)]
    while not all(
        connection.connected for connection in pool._connections
    ):  # one node can be faster than the other by rounds
        for connection in pool._connections:
            connection.connect(0.5)
    found.append(next(steps))
    workers = [connection.pid for connection in pool._connections]
    ports = listening(os.getpid()) - ports
    cluster.remove_node(second, allow_graceful=False)
    while all(Path(f"/proc/{pid}").exists() for pid in workers):  # a worker outlives its node by a moment
        time.sleep(0.05)
    found += steps
    left = [connection.pid for connection in pool._connections if connection.connected]
    pool.close()

    same = [torch.equal(a.state.params, b.state.params) for a, b in zip(alone, found, strict=True)]
    print("same bits", *same)
    print("ports of ours", ports)
    print("clients", *[len(step.outcome.sent) for step in found])
    print("workers", len(set(workers)), "left", len(set(left) & set(workers)), "of", len(left))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    main(sys.argv[1])
