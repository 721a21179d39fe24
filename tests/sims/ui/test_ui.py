"""A run is watched, stopped and resumed from its live page, in a browser and without one."""

import json
import re
import signal
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pyarrow.parquet as pq
import pytest
from chromium import chromium
from commands import Command

from gauntlet.sims import watched
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.ui.child import Child
from gauntlet.sims.ui.live_page import LivePage
from gauntlet.sims.watched import VARIABLE

SLOW = """
import time
from dataclasses import dataclass

@dataclass(frozen=True)
class Slow:
    seconds: float = 0.3

    def init(self): return None

    def aggregate(self, updates, state):
        from gauntlet.core.contracts import Verdict
        time.sleep(self.seconds)
        return Verdict(updates.vectors.mean(dim=0), flags={3: "sign_flip"}), state
"""
PATIENCE = 120.0  # seconds, on a busy machine


def until(holds, what):
    end = monotonic() + PATIENCE
    while not (found := holds()):
        assert monotonic() < end, what
        sleep(0.1)
    return found


@contextmanager
def command(folder, *words):
    """Run ``gauntlet ui`` and yield (the process, the address that it printed)."""
    process = Command(folder, "ui", *map(str, words))
    try:
        process.wait_for("Only this machine can.")
        assert process.said().startswith("Open http://127.0.0.1:"), (process.said(), process.errors())
        yield process, process.said().split()[1]
    finally:
        if process.process.is_alive():
            process.signal(signal.SIGINT)
        process.ended(PATIENCE)


def fetched(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def test_a_finished_folder_is_shown_with_nothing_to_stop(tiny, tmp_path):
    run = simulate(tiny(), tmp_path / "done")
    child = Child(run.folder)
    page = LivePage(run.folder, child)
    text = page.html()

    assert re.search(r'id="state">Finished<', text)
    assert re.search(r'<button type="button" id="stop" disabled="">', text)
    assert re.search(r'<button type="button" id="resume" disabled="">', text)
    assert "round 4 of 4" in text
    assert page.html() is text  # made once, as nothing changed
    child.close()


def test_a_run_that_is_watched_leaves_the_files_of_one_that_is_not(tiny, tmp_path, monkeypatch):
    """Rows are put on the disk after every round here, not once a second; every digest is the same."""
    alone = simulate(tiny(), tmp_path / "alone").manifest["files"]
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(watched, "_EVERY", 0.0)
    seen = simulate(tiny(), tmp_path / "watched").manifest["files"]

    assert seen == alone
    assert {"rounds.parquet", "clients.parquet"} <= set(alone)


def test_a_table_of_others_that_is_none_is_said_on_the_page(tiny, tmp_path):
    run = simulate(tiny(rounds=1), tmp_path / "r1")
    manifest = {key: value for key, value in run.manifest.items() if key != "files"}
    manifest["epsilon"] = {"value": 1.0, "reason": None}
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    run.rounds.assign(epsilon="x").to_parquet(run.folder / "rounds.parquet")
    child = Child(run.folder)

    assert "r1 cannot be shown" in LivePage(run.folder, child).html()
    child.close()


def test_a_misspelt_scenario_is_refused_before_anything_is_served(gauntlet):
    assert "quickstart" in gauntlet("ui", "quickstrat").refusal()


def test_a_folder_takes_no_options_of_a_scenario(gauntlet, tiny, tmp_path):
    run = simulate(tiny(), tmp_path / "done")

    assert "--set and --out go with a scenario" in gauntlet("ui", run.folder, "--set", "rounds=3").refusal()


def test_a_port_that_is_taken_is_said_in_one_line(gauntlet, tiny, tmp_path):
    import socket

    run = simulate(tiny(), tmp_path / "done")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = gauntlet("ui", run.folder, "--port", port).refusal()

    assert f"port {port} cannot be used" in line


@pytest.mark.slow
def test_a_run_is_watched_stopped_and_resumed_to_the_same_bits(tmp_path, tiny_text):
    """In a browser: rows before the first checkpoint, who is flagged, stop, resume, finished."""
    (tmp_path / "slow.py").write_text(SLOW)
    text = tiny_text.replace("rounds = 4", "rounds = 24").replace("every = 2", "every = 0")
    (tmp_path / "watched.toml").write_text(text + 'defense = { name = "slow.py:Slow" }\n')
    state = "document.getElementById('state').textContent"
    with command(tmp_path, "watched.toml", "--out", "run") as (_, address), chromium() as tab:
        tab.open(address)
        tab.wait(f"{state} === 'Running'")
        tab.wait("document.querySelectorAll('#plot-accuracy table.data tbody tr').length >= 2")
        assert not list((tmp_path / "run").glob("checkpoints/*"))
        tab.wait("/Flagged in round \\d+: 3/.test(document.getElementById('flagged').textContent)")
        tab.value("document.querySelector('#utility details').open = true")
        tab.value("document.getElementById('stop').click()")
        tab.wait(f"{state} === 'Stopped'")
        assert tab.value("document.querySelector('#utility details').open")
        done = load_run(tmp_path / "run").rounds["round"].max() + 1
        assert 2 <= done < 24
        tab.value("document.getElementById('resume').click()")
        tab.wait(f"{state} === 'Finished'")
        tab.wait("document.getElementById('progress').value === 24")
        assert tab.errors == []
        assert {a.split("?")[0].removeprefix(address.split("?")[0]) for a in tab.asked} == {
            "", "state", "stop", "resume",
        }  # fmt: skip
    assert Command(tmp_path, "run", "watched.toml", "--out", "whole", "--quiet").ended(240)[0] == 0
    tables = [pq.read_table(tmp_path / name / "rounds.parquet") for name in ("run", "whole")]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_ctrl_c_stops_the_run_too_and_says_how_to_go_on(tmp_path, tiny_text):
    (tmp_path / "slow.py").write_text(SLOW)
    text = tiny_text.replace("rounds = 4", "rounds = 200") + 'defense = { name = "slow.py:Slow" }\n'
    (tmp_path / "watched.toml").write_text(text)
    with command(tmp_path, "watched.toml", "--out", "run") as (process, address):
        until(lambda: "round 2 of 200" in fetched(address) or "Flagged" in fetched(address), "no round")
        process.signal(signal.SIGINT)
        _, err = process.ended(PATIENCE)

    assert "'gauntlet resume run' goes on with it" in process.said()
    assert err == []
    assert load_run(tmp_path / "run").manifest["status"] != "complete"
    assert Path(tmp_path / "run" / "checkpoints").is_dir()


@pytest.mark.slow
def test_the_commands_of_the_page_on_pages_serve_what_they_say(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    first, second = [line.removeprefix("gauntlet ui ").split() for line in block.splitlines()]
    with command(tmp_path, *first, "--set", "runtime.pool=serial") as (_, address):
        until(lambda: ">Finished<" in fetched(address), "not finished")
    with command(tmp_path, *second) as (_, address):
        assert "Sweep of 4 runs" in fetched(address)
        assert "round 12 of 12" in fetched(address)
