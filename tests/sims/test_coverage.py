"""Whom an epsilon covers of those who attacked, by where they listen and where the noise comes to it."""

from types import SimpleNamespace

import pandas as pd
import pytest

from gauntlet.sims.coverage import covered, uncovered
from gauntlet.sims.report.writing import keep_report
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import Scenario
from gauntlet.sims.summary import warnings


def run(trust, epsilon=8.0, name="own.py:Mechanism"):
    said = {"guarantee": {"trust_model": trust}, "scenario": {"privacy": {"name": name}}}
    spent = {"epsilon": {"value": epsilon, "reason": None, "accountant": "rdp"}, "status": "complete"}
    return SimpleNamespace(manifest=said | spent, rounds=pd.DataFrame({"round": [0]}))


@pytest.mark.parametrize(
    ("trust", "contributors", "words"),
    [
        ("central", None, "dlg sees one client's message, which central noise does not cover"),
        ("central", 5, "dlg sees the sum of the clients' messages, which central noise does not cover"),
        ("distributed", None, "dlg sees one client's message, which holds no more than its own share"),
        ("distributed", 5, None),
        ("local", None, None),
        ("none", None, None),
    ],
)
def test_an_observer_is_covered_where_the_noise_is_in_what_it_sees(trust, contributors, words):
    item = SimpleNamespace(attack="own.py:dlg", contributors=contributors)
    found = uncovered(run(trust), [item])
    assert covered(run(trust), item) == (words is None)
    assert (found is None) == (words is None)
    assert words is None or words in found
    assert uncovered(run(trust, epsilon=None), [item]) is None
    assert uncovered(run(trust), []) is None


def test_a_run_says_so_at_its_end_and_on_its_page(tmp_path):
    scenario = Scenario(
        rounds=1,
        num_clients=4,
        data="digits",
        model="logistic_regression",
        training={"local_steps": 1, "batch_size": 1, "lr": 0.1},
        defense={"name": "mean", "weighting": "fixed"},
        privacy={"name": "gaussian", "clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3},
        probes=["idlg"],
        runtime={"pool": "serial"},
    )
    done = simulate(scenario, tmp_path / "run")
    keep_report(done.folder, None)

    (line,) = warnings([done])
    assert line == (
        "the epsilon of gaussian covers whoever sees the aggregate after the server's noise; the observer of "
        "idlg sees one client's message, which central noise does not cover"
    )
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "which central noise does not cover" in page
