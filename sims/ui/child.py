"""The process that runs, or resumes, what the live page shows: started, stopped and listened to."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from ..watched import VARIABLE

_TAIL = 2_000  # bytes of what was printed last


class Child:
    """At most one ``gauntlet run`` or ``gauntlet resume`` at a time, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._beside = tempfile.TemporaryDirectory(prefix="gauntlet-ui-")
        self._told = Path(self._beside.name) / "printed"
        self._stopping = False

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    @property
    def ran(self) -> bool:
        """Whether it ran and has ended."""
        return self._process is not None and not self.runs

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop and still runs."""
        return self.runs and self._stopping

    @property
    def last_words(self) -> str:
        """What it printed last, one line; nothing where it never ran."""
        if not self._told.is_file():
            return ""
        with self._told.open("rb") as file:
            file.seek(max(0, self.printed - _TAIL))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def printed(self) -> int:
        """How many bytes it has printed."""
        return self._told.stat().st_size if self._told.is_file() else 0

    def run(self, scenario: str, options: Sequence[str]) -> None:
        """Begin the scenario in the folder."""
        self._start(["run", scenario, *options, "--out", str(self.folder)])

    def resume(self) -> None:
        """Go on with what the folder holds; nothing where it runs already."""
        self._start(["resume", str(self.folder)])

    def _start(self, words: Sequence[str]) -> None:
        with self._lock:
            if self.runs:
                return
            self._stopping = False
            with self._told.open("wb") as told:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "gauntlet", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=told,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {VARIABLE: "1"},
                    start_new_session=True,  # Ctrl-C is for the server, which passes it on
                )

    def stop(self) -> None:
        """Ask it to keep its last round and end; a second time changes nothing."""
        with self._lock:
            if self.runs and not self._stopping and self._process is not None:
                self._stopping = True
                self._process.send_signal(signal.SIGTERM)

    def close(self, patience: float = 60.0) -> bool:
        """Stop it and wait for its end; return whether it ran until now."""
        ran = self.runs
        self.stop()
        if self._process is not None:
            self._process.wait(patience)
        self._beside.cleanup()
        return ran
