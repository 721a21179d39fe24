"""Probes that ask which records a client trains on: who is told what, and what is made of several rounds."""

import json

import numpy as np
import pytest
import torch
from attacked_folders import codes
from unsealed import unseal

from gauntlet.attacks.leakage.membership import Membership
from gauntlet.attacks.leakage.parts.requirements import told
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.recording.replays import load_observation, load_truth
from gauntlet.server.simulation import prepare
from gauntlet.sims.run import simulate
from gauntlet.sims.verify import WHOLE as WHOLE_FOLDER

ASKING = {"name": "membership", "client": 2, "candidates": "same_classes"}
WHOLE = {"local_epochs": 1, "batch_size": 1000, "lr": 0.1}


def report_of(folder, kind="inferences"):
    (path,) = (folder / kind).glob("*[!s].json")
    return json.loads(path.read_text())


def places(folder):
    return sorted((folder / "observations").iterdir())


def test_members_are_the_clients_examples_and_as_many_test_examples_of_the_same_classes(tiny, tmp_path):
    scenario = tiny(rounds=1, training=WHOLE, probes=[ASKING])
    folder = simulate(scenario, tmp_path / "run").folder
    (place,) = places(folder)
    seen, truth, report = load_observation(place), load_truth(place), report_of(folder)
    data = prepare(scenario.run_spec()).data
    x, y = data.client(2)
    test_x, _ = data.test()

    records = seen.knowledge.candidates
    inside = truth.members == 1
    assert (int(inside.sum()), int((truth.members == 0).sum()), len(records.y)) == (
        len(y),
        len(y),
        2 * len(y),
    )
    held, free = ({row.numpy().tobytes() for row in rows} for rows in (x, test_x))
    assert {row.numpy().tobytes() for row in records.x[inside]} == held
    assert {row.numpy().tobytes() for row in records.x[~inside]} <= free
    assert torch.equal(records.y[inside].sort().values, records.y[~inside].sort().values)
    assert not torch.equal(inside, inside.sort(descending=True).values)  # their order says nothing

    assert (report["members"], len(report["scores"])) == (truth.members.tolist(), 2 * len(y))
    scores = np.array(report["scores"])
    pairs = scores[inside][:, None] - scores[~inside.numpy()][None]
    assert report["auc"] == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert report["tpr_at_fpr"]["1e-3"] is None  # fewer than a thousand non-members
    assert (report["sok"], report["oracle"]) == ("E", [])


def test_scores_of_several_rounds_of_one_client_are_added_up(tiny, tmp_path):
    """By hand: the candidates are all that the client holds, alike in every round, and rows are summed."""
    one = {"local_steps": 1, "batch_size": 4, "lr": 0.1}
    folder = simulate(tiny(training=one, probes=[{**ASKING, "rounds": [0, 2]}]), tmp_path / "run").folder
    first, second = (load_observation(place) for place in places(folder))
    marks = torch.stack([load_truth(place).members for place in places(folder)])
    report = report_of(folder)

    assert torch.equal(first.knowledge.candidates.x, second.knowledge.candidates.x)
    expected = Membership().infer([first, second]).sum(dim=0)
    assert report["scores"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert report["members"] == marks.amax(dim=0).tolist()
    assert set(report["members"]) == {-1, 0, 1}  # what it holds and used in neither round counts as neither
    assert marks.eq(1).sum(dim=1).tolist() == [4, 4]
    assert len(report["observations"]) == 2


def test_records_reach_the_attack_that_names_them_and_no_other(tiny, tmp_path, gauntlet):
    folder = simulate(tiny(rounds=1, probes=[ASKING]), tmp_path / "run").folder
    (place,) = places(folder)

    assert told(Membership(), load_observation(place)).knowledge.candidates is not None
    assert told(object(), load_observation(place)).knowledge.candidates is None
    assert "candidates" not in json.loads((place / "observation.json").read_text())["knowledge"]
    again = gauntlet("attack", folder, "--with", '{name = "membership", statistic = "loss_drop"}')
    assert again.returncode == 0, again.stderr
    assert report_of(folder, "attacked")["auc"] is not None
    assert codes(folder) == {WHOLE_FOLDER}


def test_garbage_in_place_of_the_members_changes_no_score(tiny, tmp_path, gauntlet):
    from safetensors.torch import load_file, save_file

    folder = simulate(tiny(rounds=1, probes=[ASKING]), tmp_path / "run").folder
    (place,) = places(folder)
    before = report_of(folder)
    held = load_file(place / "truth.safetensors")
    save_file(
        {**held, "x": held["x"] * 0, "members": 1 - held["members"]}, unseal(place) / "truth.safetensors"
    )

    gauntlet("attack", folder, "--with", '{name = "membership", statistic = "cosine"}')

    after = report_of(folder, "attacked")
    assert after["scores"] == before["scores"]
    assert after["auc"] == pytest.approx(1 - before["auc"])


def test_members_of_a_sum_are_those_of_all_its_clients(tiny, tmp_path):
    probe = {**ASKING, "candidates": "any_class"}
    folder = simulate(tiny(rounds=1, privacy="secure_sum", probes=[probe]), tmp_path / "run").folder

    report = report_of(folder)
    assert report["contributors"] == 6
    assert sum(mark == 1 for mark in report["members"]) == 6 * 2  # two examples a client


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"probes": [{"name": "membership"}]}, PluginError, r"missing here: candidates .*gives it records"),
        ({"probes": [{"name": "dlg", "candidates": "any_class"}]}, PluginError, "DLG looks at none"),
        ({"probes": [{**ASKING, "auxiliary": 5}]}, PluginError, "auxiliary gives it records, and Membership"),
        (
            {"probes": [{"name": "property_inference", "column": 1, "auxiliary": 10**6}]},
            ScenarioError,
            r"auxiliary must be at most \d+ of the \d+ test examples; got 1000000",
        ),
        ({"probes": [{"name": "property_inference", "auxiliary": 9}]}, PluginError, "column"),
        (
            {"privacy": "secure_sum", "probes": [{**ASKING, "rounds": [0, 1]}]},
            ScenarioError,
            "candidates of several rounds are of one client",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line_before_anybody_trains(tiny, tmp_path, keys, error, words):
    with pytest.raises(error, match=words):
        simulate(tiny(**keys), tmp_path / "run")
    assert not (tmp_path / "run" / "rounds.parquet").exists()


def test_a_property_is_scored_beside_the_share_of_examples_that_have_it(
    tiny, tmp_path, gauntlet, monkeypatch
):
    """By hand of the truth: the share of the client's images whose pixel 27 is bright."""
    asked = {"name": "property_inference", "column": 27, "batches": 6, "trees": 5, "auxiliary": 100}
    probes = [{**asked, "client": client} for client in range(4)]
    folder = simulate(tiny(rounds=1, probes=probes), tmp_path / "run").folder

    reports = [json.loads(path.read_text()) for path in (folder / "inferences").glob("*[!s].json")]
    assert len(reports) == 4
    for report in reports:
        x = load_truth(folder / "observations" / report["observation"]).x
        assert report["property_share"] == pytest.approx(float((x.flatten(1)[:, 27] > 0.5).double().mean()))
        assert (len(report["scores"]), report["sok"]) == (1, "E")
    test_x, _ = prepare(tiny().run_spec()).data.test()
    records = load_observation(places(folder)[0]).knowledge.auxiliary
    assert len(records.y) == 100
    assert {row.numpy().tobytes() for row in records.x} <= {row.numpy().tobytes() for row in test_x}

    monkeypatch.setenv("COLUMNS", "1000")
    words = '{name = "property_inference", column = 27, batches = 6, trees = 6}'
    told = gauntlet("attack", folder, "--with", words)
    assert told.returncode == 0, told.stderr
    kinds = {report["property_share"] > 0.5 for report in reports}
    assert ("over 4 messages" in told.stdout) == (len(kinds) == 2)


def test_probes_without_records_are_called_as_before(tiny):
    from gauntlet.sims.sections import Probe

    plain = Probe(name="dlg")
    assert "candidates" not in plain.record()
    assert "candidates" not in plain.model_dump()
    assert Probe(name="dlg", auxiliary=3).identity() != plain.identity()


HOLDING = """
import torch

class Holding:
    hypotheses = "property"
    def __init__(self, what: str):
        self.what = what
    def infer(self, observations):
        return torch.zeros(len(observations), 1)
    def holds(self, x, y):
        return {
            "none": None,
            "a float": torch.zeros(len(y)),
            "few": torch.zeros(1, dtype=torch.bool),
            "a table": torch.zeros(len(y), 2, dtype=torch.bool),
            "half": torch.arange(len(y)) % 2 == 0,
        }[self.what]
"""


@pytest.mark.parametrize("what", ["none", "a float", "few", "a table", "half"])
def test_what_an_attack_of_others_says_of_a_property_is_checked(tiny, tmp_path, gauntlet, what):
    (tmp_path / "holding.py").write_text(HOLDING)
    folder = simulate(tiny(rounds=1, probes=[ASKING]), tmp_path / "run").folder

    told = gauntlet("attack", folder, "--with", f'{{name = "holding.py:Holding", what = "{what}"}}')

    if what == "half":
        assert told.returncode == 0, told.stderr
        assert report_of(folder, "attacked")["property_share"] == 0.5
    else:
        assert "holds must be bool [2], one an example" in told.refusal()
