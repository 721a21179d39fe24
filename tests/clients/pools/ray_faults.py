"""A program for test_objects.py: what Ray's object store can do to a round, on Rays of its own.

``python ray_faults.py``: each fault in a fork of a process that has imported Ray and started nothing.
"""

import logging
import os
import sys

import numpy as np
import ray
import torch
from test_objects import Kernel, build

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools.connection import WorkerLost
from gauntlet.clients.pools.ray import RayPool
from gauntlet.core.errors import WorkerError

MIB = 2**18  # float32


def full(threshold: str) -> None:
    """Train six clients of 45 MiB in a store of 80 MiB; the disk counts as full from that share of it on."""
    ray.init(
        address="local",
        num_cpus=1,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _system_config={"local_fs_capacity_threshold": float(threshold)},
    )
    pool = RayPool(build, None, 1, transport="ray")
    try:
        trained = pool.train(Broadcast(0, torch.zeros(45 * MIB), torch.zeros(0)), np.arange(6), 6.0)
        print("said", trained.updates.vectors[:, 0].tolist())
    except WorkerError as error:
        print("said", error)
    pool.close()


def lost() -> None:
    """Let a block be done on a node that dies before its result is fetched; another node does it again."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0}, connect=False)
    node = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    pool = RayPool(build, None, 1, address=cluster.address)
    sent, cohort = Broadcast(0, torch.ones(MIB), torch.zeros(0)), np.array([3])
    pool.train(sent, cohort, 1.0)
    (connection,) = pool._connections
    with pool._transport.sharing(sent):
        connection.submit("train", sent, cohort)
        ray.wait([connection._flying[0]], timeout=60, fetch_local=False)
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        try:
            connection.fetch([np.zeros((1, MIB))])
        except WorkerLost as error:
            print("said lost", str(error).count("\n"))
    trained = pool.train(sent, cohort, 1.0)
    print("said", trained.updates.vectors[:, 0].tolist())
    pool.close()
    ray.shutdown()
    cluster.shutdown()


FAULTS = {"spilled": lambda: full("0.95"), "full": lambda: full("0.01"), "lost": lost}


def main() -> None:
    """Print what every fault comes to, after its name, and its exit code."""
    for name, happen in FAULTS.items():
        print("fault", name, flush=True)
        if (child := os.fork()) == 0:
            happen()
            sys.stdout.flush()
            os._exit(0)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.cloudpickle.register_pickle_by_value(sys.modules[Kernel.__module__])
    main()
