"""Commands that are stopped: by SIGTERM, by Ctrl-C, twice, and by a kill that leaves no time for anything."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from commands import Command

import gauntlet
from gauntlet.sims import signals

SCENARIO = """
rounds = 400
num_clients = 6
data = "digits"
model = {name = "mlp", hidden = [8]}
training = {local_steps = 1, batch_size = 2, lr = 0.5}
checkpoint = {every = 0}
runtime = {pool = "serial"}
"""


@pytest.fixture
def start(tmp_path) -> Iterator:
    """Start commands on a scenario; whatever is left of them in the end is killed."""
    (tmp_path / "long.toml").write_text(SCENARIO)
    started = []

    def call(*arguments: str) -> Command:
        started.append(Command(tmp_path, *arguments))
        return started[-1]

    yield call
    for command in started:
        if command.process.is_alive():
            command.signal_all(signal.SIGKILL)
            command.process.join()


def checkpoint_of(folder: Path) -> int:
    (path,) = sorted((folder / "checkpoints").glob("round-*.safetensors"))[-1:]
    return int(re.findall(r"\d+", path.name)[0])


@pytest.mark.slow
def test_sigterm_keeps_the_last_finished_round_and_ends_with_143_and_one_line(start, tmp_path):
    """Without any checkpoint on the way (``every = 0``): what is there is what the signal made."""
    command = start("run", "long.toml", "--out", "out")
    command.wait_for("round 40/400")
    command.process.terminate()

    code, lines = command.ended()
    assert code == 143
    assert lines == [
        "gauntlet: stopped by SIGTERM; 'gauntlet resume out' goes on after the last finished round"
    ]
    assert checkpoint_of(tmp_path / "out") >= 40
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "running"


@pytest.mark.slow
def test_a_run_that_was_stopped_twice_goes_on_to_the_same_tables(start, tmp_path):
    first = start("run", "long.toml", "--out", "out")
    first.wait_for("round 40/400")
    first.process.terminate()
    first.ended()
    second = start("resume", "out")
    second.wait_for(f"round {40 * (checkpoint_of(tmp_path / 'out') // 40 + 2)}/400")  # each fortieth is said
    second.signal(signal.SIGINT)
    assert second.ended()[0] == 130
    assert 80 <= checkpoint_of(tmp_path / "out") < 400
    whole = gauntlet.simulate(tmp_path / "long.toml", tmp_path / "whole")

    assert gauntlet.resume(tmp_path / "out").rounds.equals(whole.rounds)


@pytest.mark.slow
def test_a_command_that_is_stopped_before_it_runs_says_so_and_leaves_nothing(start, tmp_path):
    """While it is prepared: the plug-in waits while it is loaded."""
    (tmp_path / "slow.py").write_text(
        "import sys, time\nprint('loading', flush=True)\ntime.sleep(60)\nclass Slow: pass\n"
    )
    command = start("run", "long.toml", "-s", "defense=slow.py:Slow", "--out", "out")
    command.wait_for("loading")
    command.process.terminate()

    assert command.ended() == (143, ["gauntlet: stopped by SIGTERM before any round was run"])
    assert not (tmp_path / "out").exists()


def test_a_second_signal_ends_it_at_once_without_a_traceback(start, tmp_path):
    """While the first one waits for the end of what is being written."""
    code = (
        "import time\nfrom gauntlet.sims import signals\n"
        "with signals.caught(), signals.undisturbed():\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"in\n"
    process.send_signal(signal.SIGINT)
    sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)

    out, said = process.communicate(timeout=10)
    assert (process.returncode, out, said) == (130, b"", b"")


def test_a_signal_waits_for_the_end_of_what_must_not_be_disturbed_however_deep():
    order = []

    def work():
        with signals.caught():
            with signals.undisturbed():
                with signals.undisturbed():
                    os.kill(os.getpid(), signal.SIGTERM)
                    order.append("inner")
                order.append("outer")
            order.append("never")

    with pytest.raises(signals.Stopped):
        work()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    assert order == ["inner", "outer"]
    assert signals.exit_code() == 143


def test_who_is_stopped_after_the_last_round_is_told_where_the_results_are(tmp_path):
    """While plots are drawn, for example: rounds were run, and nothing is left to be resumed."""

    def work():
        with signals.caught():
            with signals.resumable(tmp_path):
                pass
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(signals.Stopped):
        work()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    assert signals.last_words() == f"stopped by Ctrl-C after the last round; {tmp_path} holds the results"


def test_a_program_that_calls_gauntlet_keeps_its_own_handlers_and_so_does_a_command_that_ends_well():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with signals.caught():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_on_ray_a_signal_to_the_driver_or_to_all_keeps_the_last_round_and_leaves_no_process(
    start, tmp_path, number, transport
):
    """SIGTERM goes to the driver alone, as ``kill`` sends it; Ctrl-C to everybody in the terminal's group."""
    over = ["-s", f"runtime.transport={transport}"]
    command = start("run", "long.toml", "--pool", "ray", "--workers", "1", *over, "--out", "out")
    command.wait_for("round 40/400")
    assert len(command.left()) > 3
    (command.signal if number == signal.SIGTERM else command.signal_all)(number)

    code, lines = command.ended()
    assert (code, len(lines)) == (128 + number, 1), lines
    assert "'gauntlet resume out' goes on" in lines[0]
    assert checkpoint_of(tmp_path / "out") >= 39
    assert gone(command, 10)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_no_ray_process_outlives_a_killed_driver_by_more_than_ten_seconds(start, transport):
    over = ["-s", f"runtime.transport={transport}"]
    command = start("run", "long.toml", "--pool", "ray", "--workers", "2", *over, "--out", "out")
    command.wait_for("round 40/400")
    assert len(command.left()) > 3
    command.process.kill()
    command.process.join()

    assert gone(command, 10)


@pytest.mark.slow
def test_a_sweep_on_ray_stops_as_a_whole_and_goes_on(start, tmp_path):
    over = ["--over", "seed=[1,2,3]", "-s", "rounds=150", "--pool", "ray", "--workers", "2", "--out", "out"]
    command = start("sweep", "long.toml", *over)
    command.wait_for("round 45/150", 240)
    command.process.terminate()

    code, lines = command.ended()
    assert (code, len(lines)) == (143, 1), lines
    assert "'gauntlet resume out' goes on" in lines[0]
    assert gone(command, 10)
    saved = [*(tmp_path / "out").glob("run-*/checkpoints/round-*.safetensors")]  # of whichever run came first
    assert max(checkpoint_of(path.parent.parent) for path in saved) >= 1
    assert start("resume", "out", "--pool", "serial", "-q").ended(300)[0] == 0


@pytest.mark.slow
def test_a_sweep_in_one_process_stops_as_a_whole(start, tmp_path):
    command = start("sweep", "long.toml", "--over", "seed=[1,2]", "--out", "out")
    command.wait_for("round 40/400")
    command.process.terminate()

    code, lines = command.ended()
    assert (code, len(lines)) == (143, 1), lines
    assert "'gauntlet resume out' goes on" in lines[0]
    assert not (tmp_path / "out" / "run-001").exists()


def gone(command: Command, seconds: float) -> bool:
    """Whether nothing of the command's session is left within so many seconds."""
    end = monotonic() + seconds
    while left := command.left():
        if monotonic() > end:
            raise AssertionError(left)
        sleep(0.1)
    return True
