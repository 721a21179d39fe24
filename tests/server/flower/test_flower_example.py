"""The example in ``docs/examples/flower``, in a SuperLink of its own."""

import os
import runpy
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flower_nodes import serve

from gauntlet.defenses import DEFENSES

EXAMPLE = Path(__file__).parents[3] / "docs/examples/flower"
ROUNDS = 4  # one more than the example's own configuration says


def test_the_example_names_its_apps_and_the_parts_that_flower_does_not_deprecate():
    """``flwr run`` reads the components; Flower 1.41 deprecates ``run_simulation``."""
    app = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    code = (EXAMPLE / "digits.py").read_text()

    assert app["components"] == {"serverapp": "digits:server", "clientapp": "digits:client"}
    assert all(f"\n{name} = " in code for name in ("server", "client"))
    assert "run_simulation" not in code
    DEFENSES.build(app["config"]["defense"], {"num_byzantine": 3})


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a SuperLink of our own on a free port of this machine; return the environment that finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    off = ("FLWR_DISABLE_UPDATE_CHECK", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION")
    environment = os.environ | dict.fromkeys(off, "1")
    environment |= {"FLWR_HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0", "RAY_ADDRESS": "local"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    (tmp_path / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess"]
    with (tmp_path / "superlink.log").open("w") as log:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        service = subprocess.Popen([*command, *where], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and service.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield environment
    finally:
        service.terminate()
        service.wait(60)


def in_this_process(defense: str, capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Return the accuracy after every round, with nodes that need no Flower around them."""
    space = runpy.run_path(str(EXAMPLE / "digits.py"))
    config = {"defense": defense, "num-server-rounds": ROUNDS}
    capsys.readouterr()
    serve(space["server"], space["client"], space["NODES"], config)
    return accuracies(capsys.readouterr().out)


def accuracies(said: str) -> list[float]:
    """Return the accuracies that a run said, of all rounds from 0."""
    lines = [line.split() for line in said.splitlines() if line.startswith("round ")]
    assert [line[:3] for line in lines] == [["round", str(t), "accuracy"] for t in range(len(lines))]
    return [float(line[3]) for line in lines]


def test_the_example_learns_behind_multi_krum_and_not_behind_the_mean(capsys):
    assert in_this_process("multi_krum", capsys)[3] > 0.85
    assert in_this_process("mean", capsys)[3] < 0.5


@pytest.mark.slow
def test_flower_runs_the_example_as_this_process_does(superlink, capsys):
    """A round more than the app's own configuration says: what the run is told reaches it."""
    chosen = f'defense="trimmed_mean" num-server-rounds={ROUNDS}'
    options = ["--stream", "--federation-config", "num-supernodes=10", "--run-config", chosen]
    command = ["flwr", "run", str(EXAMPLE), "here", *options]
    done = subprocess.run(command, env=superlink, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr

    assert done.returncode == 0, said[-2000:]
    assert "DEPRECATED" not in said
    found = accuracies(said)
    assert len(found) == ROUNDS + 1, said[-2000:]
    assert found == pytest.approx(in_this_process("trimmed_mean", capsys), abs=0.005)
