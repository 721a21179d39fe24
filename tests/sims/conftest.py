"""A scenario of seconds, and the command line as a user's shell sees it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import gauntlet

from gauntlet.sims.scenario import Scenario, make_scenario

__all__ = ["gauntlet", "tiny"]

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


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Scenario]:
    """Return a scenario of 4 rounds; keywords replace or add its keys."""
    return lambda **changes: make_scenario({**TINY, **changes})


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
