"""The example in ``docs/examples/flower``, in a SuperLink of its own."""

import os
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gauntlet.defenses import DEFENSES

EXAMPLE = Path(__file__).parents[3] / "docs/examples/flower"


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


@pytest.mark.slow
def test_the_example_learns_behind_multi_krum_and_not_behind_the_mean(superlink):
    accuracies = {d: _last_accuracy(d, superlink) for d in ("multi_krum", "mean")}

    assert accuracies["multi_krum"] > 0.85
    assert accuracies["mean"] < 0.5


def _last_accuracy(defense: str, environment: dict[str, str]) -> float:
    nodes, chosen = "num-supernodes=10", f'defense="{defense}"'
    options = ["--stream", "--federation-config", nodes, "--run-config", chosen]
    command = ["flwr", "run", str(EXAMPLE), "here", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    lines = [line for line in said.splitlines() if line.startswith("round 3 accuracy")]
    assert done.returncode == 0, said[-2000:]
    assert lines, said[-2000:]
    assert "DEPRECATED" not in said
    return float(lines[0].split()[-1])
