"""A program for test_cluster.py: a driver that is no node of the cluster, and that nobody can call."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time

import torch
from two_nodes import SPEC, listening

from gauntlet.core.errors import WorkerError
from gauntlet.server.simulation import prepare


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


def joined(simulation, address):
    """Return a pool on the cluster at an address, once it is up."""
    end = time.monotonic() + 90
    while True:
        try:
            return simulation.ray_pool(1, address=address)
        except WorkerError:
            if time.monotonic() > end:
                raise


def main() -> None:
    """Start a cluster in a session of its own, run on it, and print what the test compares."""
    ports = free_port(), free_port()
    words = f"--head --block --port {ports[0]} --ray-client-server-port {ports[1]} --num-cpus 1".split()
    words += ["--node-ip-address", "127.0.0.1", "--include-dashboard", "false", "--disable-usage-stats"]
    words += ["--temp-dir", os.environ["RAY_TMPDIR"]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    head = subprocess.Popen([sys.executable, "-m", "ray.scripts.scripts", "start", *words], **quiet)
    try:
        simulation = prepare(SPEC)
        alone = list(simulation.steps(simulation.serial_pool()))
        pool = joined(simulation, f"ray://127.0.0.1:{ports[1]}")
        found = list(simulation.steps(pool))
        print("ports", listening(os.getpid()))
        pool.close()
    finally:
        os.killpg(head.pid, signal.SIGKILL)
    same = [torch.equal(a.state.params, b.state.params) for a, b in zip(alone, found, strict=True)]
    print("same bits", *same, flush=True)
    os._exit(0)  # Ray's client would wait for the cluster


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    main()
