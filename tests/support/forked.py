"""Processes of their own at the price of a fork: a server imports the simulator once, each is a child of it.

The server is the standard library's ``forkserver``. It computes nothing and starts no thread, so that it can
be forked; it ends with the process that tests, as do its children.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "gauntlet.sims.cli",
        "gauntlet.sims.run",
        "gauntlet.sims.report.document",
        "sklearn.datasets",
        "torch._dynamo.polyfills",  # which the first step that is recorded imports
    ]
)


def start(call: Callable[..., object], *arguments: Any, cwd: str | os.PathLike[str] = ".") -> BaseProcess:
    """Start ``call(*arguments)`` in a process of its own, and return it.

    Args:
        call: A function of a module that a child can import, such as one of ``tests/support``.
        arguments: What can be pickled.
        cwd: The child's folder; its environment is this process's.
    """
    process = _SERVER.Process(target=_begin, args=(dict(os.environ), cwd, call, arguments), daemon=True)
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 240) -> int:
    """Wait for the end of a process; return its exit code, which is minus the signal that killed it."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"process {process.pid} did not end within {seconds:g} seconds")
    return process.exitcode


def _begin(
    environment: Mapping[str, str],
    cwd: str | os.PathLike[str],
    call: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    call(*arguments)
