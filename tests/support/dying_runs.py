"""Runs that die while they write results, and what a death leaves at every call that writes.

A death before a call leaves what the folder holds then, so that one run shows every one of them; the deaths
that happen in earnest are held against that by a test.
"""

import os
import resource
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gauntlet.sims.progress import Silent
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

CALLS = ("replace", "fsync", "pwrite")


def before_each(name: str, do: Callable[[int], object]) -> None:
    """Call ``do`` with the number of each call of ``os.NAME``, from 1, before it is made."""
    real, calls = getattr(os, name), 0

    def call(*arguments):
        nonlocal calls
        calls += 1
        do(calls)
        return real(*arguments)

    setattr(os, name, call)


def deaths(scenario: Mapping[str, Any], folder: Path) -> None:
    """Run once in ``folder/run``; keep what it holds before every call that writes, under the call's name."""
    made = folder / "run"

    def keep(name: str, number: int) -> None:
        if made.is_dir():
            shutil.copytree(made, folder / f"{name}-{number:03d}")

    for name in CALLS:
        before_each(name, lambda number, name=name: keep(name, number))
    simulate(make_scenario(scenario), made)


def die_at(name: str, last: int, scenario: Mapping[str, Any], folder: Path) -> None:
    """Run, and die as ``kill -9`` does it instead of calling ``os.NAME`` for the ``last``-th time."""

    def die(number: int) -> None:
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each(name, die)
    simulate(make_scenario(scenario), folder)


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


def die_within(size: int, scenario: Mapping[str, Any], folder: Path) -> None:
    """Run, and die within the first file that grows past ``size`` bytes after the second round."""
    simulate(make_scenario(scenario), folder, Limit(1, size))
