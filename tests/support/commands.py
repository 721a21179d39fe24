"""Commands in processes of their own, at the price of a fork: to be stopped, killed and looked after."""

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from forked import start

from gauntlet.sims.cli import main
from gauntlet.sims.run import simulate as run
from gauntlet.sims.scenario import make_scenario


class Command:
    """``gauntlet ARGUMENTS``, or another program, in a session and a group of its own.

    What it says goes into two files of ``folder``. It is no other than one of a shell, but for what it need
    not import: also at its end, where what the simulator and Ray registered for the end of a process runs.
    """

    def __init__(self, folder: Path, *arguments: str, program: Callable[[], object] = main) -> None:
        self.folder = folder
        number = len(list(folder.glob("said-*")))
        self._said, self._errors = folder / f"said-{number}", folder / f"errors-{number}"
        self._said.touch()
        self.process = start(_run, program, arguments, str(self._said), str(self._errors), cwd=folder)
        self.pid: int = self.process.pid or 0

    def wait_for(self, text: str, seconds: float = 120) -> None:
        end = monotonic() + seconds
        while text not in self.said():
            assert self.process.is_alive(), self.errors()
            assert monotonic() < end, self.said()
            sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to the command alone, as ``kill`` does."""
        os.kill(self.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to everybody in its group, as a terminal does."""
        os.killpg(self.pid, number)

    def ended(self, seconds: float = 60) -> tuple[int, list[str]]:
        """Its exit code, and the lines that it printed to standard error."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still there after {seconds:g} seconds"
        return self.process.exitcode, self.errors().splitlines()

    def said(self) -> str:
        """What it printed so far."""
        return self._said.read_text()

    def errors(self) -> str:
        """What it printed to standard error so far."""
        return self._errors.read_text() if self._errors.exists() else ""

    def left(self) -> list[str]:
        """The processes of its session that are still there."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.pid and fields[0] != "Z":
                    found.append((place / "cmdline").read_text().replace("\0", " ")[:120])
            except OSError:
                continue
        return found


def simulate(values: Mapping[str, Any], folder: str) -> None:
    """Run a scenario, for ``forked.start``."""
    run(make_scenario(values), folder)


def _run(program: Callable[[], object], arguments: tuple[str, ...], said: str, errors: str) -> None:
    os.setsid()
    for number, path in ((1, said), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["gauntlet", *arguments]
    try:
        sys.exit(program())
    finally:  # a process of the standard library's pool ends without these, and Ray's is one of them
        threading._shutdown()
        atexit._run_exitfuncs()
