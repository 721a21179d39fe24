"""A program for test_kills.py: runs of one scenario that each die at another moment of writing results.

``python dying_runs.py SCENARIO.json FOLDER``: one folder per moment, each by a process of its own.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from gauntlet.sims.progress import Silent
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import Scenario, make_scenario


def die() -> None:
    """As ``kill -9`` does it: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def count(name: str, last: int) -> None:
    """Let the process die instead of calling ``os.NAME`` for the ``last``-th time."""
    real, calls = getattr(os, name), 0

    def call(*arguments):
        nonlocal calls
        calls += 1
        if calls == last:
            die()
        return real(*arguments)

    setattr(os, name, call)


class Limit(Silent):
    """Let the operating system end the process within the first file that grows past a size."""

    def __init__(self, round_: int, size: int) -> None:
        self.round, self.size = round_, size

    def advance(self, run, round_, accuracy, clients, seconds):
        """The tables and the checkpoint of this round are written next."""
        if round_ == self.round:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


def main() -> None:
    """Die at every call that changes the disk, and within a file; the folder's name says where."""
    scenario = make_scenario(json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(1)  # a process with threads must not be forked
    simulate(scenario, sys.argv[2] + "-warm")  # whatever is imported late is imported once
    folder = Path(sys.argv[2])
    for size in (14_000, 25_000):
        die_apart(simulate, scenario, folder / f"limit-{size}", Limit(1, size))
    for what in ("replace", "fsync", "pwrite"):
        for number in range(1, 200):
            if die_apart(dying, what, number, scenario, folder / f"{what}-{number:03d}"):
                break  # there are no more calls


def dying(what: str, number: int, scenario: Scenario, folder: Path) -> None:
    count(what, number)
    simulate(scenario, folder)


def die_apart(run: Callable[..., object], *arguments: object) -> bool:
    """Run in a process of its own; return whether it lived."""
    child = os.fork()
    if child == 0:
        run(*arguments)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    main()
