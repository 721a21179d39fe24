"""What stops a command: SIGTERM and Ctrl-C are one exception each, raised where nothing is half done.

The command line installs the handlers; a program that calls Gauntlet keeps its own. The first signal raises
``Stopped`` in the main thread, at once or at the end of ``undisturbed``. What is being run keeps its last
finished round, and the command exits with 128 and the signal's number. Another signal ends the process at
once, like a kill: whatever is on the disk is whole.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_CAUGHT = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop. A ``KeyboardInterrupt``, so that nothing takes it for a fault."""


class _Watch:
    """What came, and whether it has to wait."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.folder: Path | None = None
        self.ended: Path | None = None
        self._depth, self._waits = 0, False

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.came is not None:
            os._exit(128 + number)
        self.came = number
        if self._depth:
            self._waits = True
        else:
            raise Stopped

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            waits, self._waits = self._waits and not self._depth, self._waits and bool(self._depth)
        if waits:
            raise Stopped


_watch = _Watch()


@contextmanager
def caught() -> Iterator[None]:
    """Catch the signals within; outside the main thread nothing is caught."""
    global _watch
    _watch = _Watch()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _watch.handle) for number in _CAUGHT}
    try:
        yield
    finally:
        if _watch.came is None:  # else another one may come at any time, until the process is gone
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a signal of the command line wait until the end of what is done within."""
    with _watch.undisturbed():
        yield


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Let whoever is stopped be told that ``folder`` can be resumed, or has ended; the outermost counts."""
    try:
        yield
    except KeyboardInterrupt:
        _watch.folder = folder
        raise
    _watch.ended = folder


def exit_code() -> int:
    """Return the exit code of a command that was stopped: 143 by SIGTERM, 130 by Ctrl-C."""
    return 128 + (_watch.came or signal.SIGINT)


def last_words() -> str:
    """Return the line that a command which was stopped ends with."""
    name = "SIGTERM" if _watch.came == signal.SIGTERM else "Ctrl-C"
    if _watch.folder is None and _watch.ended is not None:
        return f"stopped by {name} after the last round; {_watch.ended} holds the results"
    if _watch.folder is None:
        return f"stopped by {name} before any round was run"
    return f"stopped by {name}; 'gauntlet resume {_watch.folder}' goes on after the last finished round"
