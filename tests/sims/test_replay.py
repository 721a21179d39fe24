"""Logs in the tables: against bytes counted by hand, and after a death."""

import signal
from pathlib import Path

import pytest
from forked import finish, start
from outsiders import die

from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario

SCENARIO = {
    "name": "logs",
    "rounds": 6,
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "logistic_regression", "zero_init": True},
    "algorithm": {"name": "mezo", "scalars_per_round": 2},
    "codec": {"name": "one_byte", "scalars_per_round": 2, "unit": 0.05},
    "codec_down": "replay",
    "sampler": {"name": "fixed_size", "cohort_size": 3},
    "runtime": {"pool": "serial"},
    "checkpoint": {"every": 1},
}


def test_catch_up_is_counted_as_by_hand(tmp_path):
    """20 bytes; of each round missed a record of 5 and 1, and 10 for each message of two scalars.

    A message is its client's distance (1), its number of examples (239 or 240: 2), a length (1), and the
    record of its frame: 4 and 2. A client holds the first parameters, and later those that its last message
    was made from.
    """
    run = simulate(make_scenario(SCENARIO), tmp_path / "run")
    found = run.frames[run.frames.direction == "catchup"]
    last, expected = {}, []
    for t, cohort in run.clients.groupby("round").client_id:
        expected += [(t, c, (t - last.get(c, 0)) * (1 + 3 * 10)) for c in cohort]
        last |= dict.fromkeys(cohort, t)
    assert list(zip(found["round"], found.client_id, found.payload_bytes, strict=True)) == expected
    missed = [payload // 31 for _, _, payload in expected]
    assert max(missed) > 1
    assert found.frame_bytes.tolist() == [20 + 36 * n for n in missed]
    assert (found.ideal_bits == 8 * found.payload_bytes).all()
    assert found.groupby("round").frame_bytes.sum().tolist() == run.rounds.bytes_down.tolist()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_the_same_logs(tmp_path):
    whole = simulate(make_scenario(SCENARIO), tmp_path / "whole")
    assert finish(start(die, SCENARIO, cwd=tmp_path)) == -signal.SIGKILL
    resume(tmp_path / "dead")
    tables = [path.name for path in Path(whole.folder).glob("*.parquet") if path.stem != "timings"]
    assert len(tables) >= 3
    for name in tables:
        assert (tmp_path / "dead" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
