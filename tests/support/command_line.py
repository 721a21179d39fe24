"""The command line as a user's shell sees it: a fixture for folders whose ``conftest.py`` imports it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gauntlet.sims.cli import main

__all__ = ["Result", "gauntlet"]


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str

    def refusal(self) -> str:
        """Check that the command refused its input as it should, and return its line."""
        assert self.returncode == 2, (self.stdout, self.stderr)
        (line,) = self.stderr.strip().splitlines()
        assert line.startswith("gauntlet: "), line
        return line


@pytest.fixture
def gauntlet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run ``gauntlet ARGUMENTS`` from an empty folder."""

    def call(*arguments: Any) -> Result:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["gauntlet", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Result(code, *capfd.readouterr())

    return call
