"""A codec with a residual, from outside the tree: it runs as one of ours, on any pool, and after a kill."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario

FILE = Path(__file__).parent / "residual_sign.py"
PAGE = Path(__file__).parents[2] / "docs" / "add-a-codec.md"


def scenario(**changes):
    """Cohorts of 4 of 6 clients, of whom a fifth is lost on the way."""
    return {
        "name": "residual",
        "rounds": 4,
        "num_clients": 6,
        "data": "digits",
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"local_steps": 2, "batch_size": 8, "lr": 0.1},
        "codec": {"name": f"{FILE}:ResidualSign"},
        "sampler": {"name": "fixed_size", "cohort_size": 4},
        "network": {"name": "links", "dropout": 0.2},
        "checkpoint": {"every": 1},
        "runtime": {"pool": "serial"},
        **changes,
    }


def bits(folder: Path) -> dict[str, bytes]:
    """Every table but the wall-clock times, and the checkpoints."""
    tables = [p for p in folder.glob("*.parquet") if p.stem != "timings"]
    return {p.name: p.read_bytes() for p in (*tables, *(folder / "checkpoints").iterdir())}


def test_it_is_one_file_of_at_most_80_lines_and_the_page_on_codecs_shows_it():
    code = FILE.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 80
    assert f"```python\n{code}```" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_every_promise(check):
    check(CODECS.build(f"{FILE}:ResidualSign", {"decay": 0.5}))


def test_it_runs_from_a_scenario_and_sends_a_bit_a_coordinate(tmp_path):
    """By hand, an MLP 64-16-10: bodies of 4 + 128, 4 + 2, 4 + 20 and 4 + 2 bytes in a frame of 20.

    Record heads: 1 + 1 for the id and the tag, 2 for 1024 or 160 elements and 1 below 128, 2 for 132 bytes.
    """
    run = simulate(make_scenario(scenario(rounds=2)), tmp_path / "run")
    assert set(run.clients["bytes_up"]) == {20 + (132 + 6 + 24 + 6) + (6 + 4 + 5 + 4)}
    assert set(run.clients["status"]) == {"ok", "dropped"}


@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process(tmp_path, ray_here):
    one = simulate(make_scenario(scenario()), tmp_path / "one").folder
    ray = scenario(runtime={"pool": "ray", "num_workers": 2})
    assert bits(simulate(make_scenario(ray), tmp_path / "ray").folder) == bits(one)


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_bits_of_a_run_that_never_stopped(tmp_path):
    values = scenario(rounds=40)
    whole = simulate(make_scenario(values), tmp_path / "whole").folder
    (tmp_path / "scenario.json").write_text(json.dumps(values))
    program = (
        "import json\nfrom gauntlet.sims.run import simulate\n"
        "from gauntlet.sims.scenario import make_scenario\n"
        "simulate(make_scenario(json.load(open('scenario.json'))), 'dead')"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    dead = tmp_path / "dead"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(dead.glob("checkpoints/round-00000[3-9].safetensors")):
        time.sleep(0.005)
    process.kill()
    assert process.wait() != 0, "it had finished before it was killed"
    resume(dead)
    assert bits(dead) == bits(whole)
