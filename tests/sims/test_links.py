"""``[link]`` in a scenario: its column, its refusals, and runs from before there was one."""

import pandas as pd
import pytest

from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import fingerprint, load_scenario


def test_the_table_of_rounds_says_what_links_took_and_when_rounds_ended(tiny, tmp_path):
    """By hand: 8 (bytes down + up) / 10^6 s at 1 Mb/s both ways and 2 x 10 ms, the same for all."""
    rounds = simulate(
        tiny(link={"up_mbps": 1.0, "down_mbps": 1.0, "latency_ms": 10}), tmp_path / "run"
    ).rounds
    own = 8e-6 * (rounds.bytes_up + rounds.bytes_down) / 6 + 0.02
    pd.testing.assert_series_equal(rounds.link_seconds, own, check_names=False, rtol=1e-12)
    pd.testing.assert_series_equal(rounds.virtual_seconds, own.cumsum(), check_names=False, rtol=1e-12)


def test_a_run_without_links_has_the_columns_that_it_had(tiny, tmp_path):
    assert "link_seconds" not in simulate(tiny(), tmp_path / "run").rounds


def test_runs_of_versions_without_links_keep_their_fingerprint():
    values = load_scenario("quickstart").values()
    before = {key: value for key, value in values.items() if key != "link"}
    assert fingerprint(values, {}) == fingerprint(before, {})
    assert fingerprint({**values, "link": {"up_mbps": 1.0}}, {}) != fingerprint(before, {})


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("link.up_mbps=0", "got 0"),
        ("link.up_mbps=-3", "got -3"),
        ("link.up_mbps=nan", "nan"),
        ("link=5", "link"),
        ("link.up_mbps=[1, 2]", "2 figures for 6 clients"),
    ],
)
def test_a_link_that_cannot_be_is_refused_in_one_line(gauntlet, tiny_file, setting, complaint):
    for schedule in ("synchronous", "buffered"):
        refusal = gauntlet("run", tiny_file, "-s", setting, "-s", f"schedule={schedule}").refusal()
        assert complaint in refusal
