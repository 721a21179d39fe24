"""A scenario of seconds, and the command line as a user's shell sees it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gauntlet.sims.cli import main
from gauntlet.sims.scenario import Scenario, make_scenario

TINY = {
    "name": "tiny",
    "rounds": 4,
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
    "runtime": {"pool": "serial"},
    "checkpoint": {"every": 2},
}


@pytest.fixture
def tiny() -> Callable[..., Scenario]:
    """Return a scenario of 4 rounds; keywords replace or add its keys."""
    return lambda **changes: make_scenario({**TINY, **changes})


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


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """The same scenario as a file's content."""
    return (
        'rounds = 4\nnum_clients = 6\ndata = "digits"\nmodel = {name = "mlp", hidden = [8]}\n'
        'training = {local_steps = 1, batch_size = 2, lr = 0.5}\nruntime = {pool = "serial"}\n'
        "checkpoint = {every = 2}\n"
    )


@pytest.fixture
def tiny_file(tmp_path: Path, tiny_text: str) -> Path:
    """The same scenario as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_text)
    return path
