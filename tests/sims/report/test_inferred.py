"""The page's parts of inference attacks and of posterior samples: each number is the result's own."""

import json
import re
import shutil

import pandas as pd
import pytest

from gauntlet.core.errors import DataError
from gauntlet.sims.inferred import load_inferred
from gauntlet.sims.report.writing import write_report
from gauntlet.sims.results import Run
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario

ASKED = [
    {"name": "membership", "client": 2, "candidates": "same_classes", "rounds": [0, 1]},
    {"name": "bias_counts", "client": 1},
]
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def asked(small, tmp_path_factory):
    """A run on whose clients one eavesdropper asks for members, one for labels."""
    folder = tmp_path_factory.mktemp("asked") / "run"
    return simulate(small(rounds=2, attacks=[], probes=ASKED), folder)


def cells(page, part):
    """Return the rows of a part's tables, head first, without tags."""
    text = page.split(f'<section id="{part}"')[1].split("</section>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [[re.sub("<.*?>", "", one) for one in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_what_was_inferred_stands_on_the_page_as_the_results_say_it(asked):
    reports = {r["attack"]: r for r in map(json.loads, (p.read_text() for p in found(asked.folder)))}
    page = (asked.folder / "report.html").read_text(encoding="utf-8")
    members, labels = cells(page, "inferences")[1::2]
    marks = reports["membership"]["members"]

    area = f"{reports['membership']['auc']:.2f}"
    assert members[1] == "0"  # its seed, of rows that are alike without it
    assert members[4:9] == ["1", "2", "2", f"{marks.count(1)} / {marks.count(0)}", area]
    assert members[-1] == "—"  # one false alarm in a thousand takes a thousand non-members
    assert labels[2] == "bias_counts"
    assert labels[-3] == f"{reports['bias_counts']['label_accuracy']:.2f}"
    assert "What eavesdroppers rebuilt" not in page


def found(folder):
    return [path for path in sorted((folder / "inferences").glob("*.json")) if "timings" not in path.name]


def test_a_page_without_questions_has_no_such_part(attacked):
    page = (attacked.folder / "report.html").read_text(encoding="utf-8")

    assert "What eavesdroppers inferred" not in page
    assert "What posterior samples say" not in page
    assert attacked.inferences() == []


@pytest.fixture
def copy(asked, tmp_path):
    folder = shutil.copytree(asked.folder, tmp_path / "copy")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("files")
    path.write_text(json.dumps(manifest))
    return folder


def test_words_of_a_hostile_answer_are_text_and_numbers_are_numbers(copy, seen):
    path = found(copy)[0]
    told = json.loads(path.read_text()) | {
        "attack": EVIL,
        "sok": EVIL,
        "oracle": [EVIL],
        "options": {EVIL: EVIL},
    }
    path.write_text(json.dumps(told))

    page = seen(write_report([copy]))
    assert page.words.count(EVIL) >= 4
    assert len(page.of("script")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"auc": "0.9", "label_accuracy": "0.9"},
        {"attack": 3},
        {"members": 7},
        {"round": None},
        {"tpr_at_fpr": {"1e-1": [1]}, "count_accuracy": [1]},
    ],
)
def test_an_answer_that_no_attack_gave_is_one_line_in_its_part(change, copy):
    for path in found(copy):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(DataError, match="is not a readable inference"):
        Run(copy).inferences()
    assert "This part cannot be shown" in write_report([copy]).read_text(encoding="utf-8")


def test_a_property_is_scored_beside_its_true_share(copy):
    """By hand: two thirds of the records have it, and the attack says 0.25."""
    path = found(copy)[0]
    kept = {k: v for k, v in json.loads(path.read_text()).items() if k in ("options", "round", "client_id")}
    path.write_text(
        json.dumps({**kept, "attack": "property_inference", "scores": [0.25], "property_share": 2 / 3})
    )

    assert load_inferred(path).scores == {"property_share": 2 / 3, "property_score": 0.25}
    assert ["0.25", "0.67"] in [row[-2:] for row in cells(write_report([copy]).read_text(), "inferences")]


def test_posterior_samples_stand_on_the_page_as_the_tables_say_it(tmp_path):
    few = {"rounds": 12, "algorithm.burn_in": 20, "algorithm.thin": 10, "sweep": {}, "evaluation.every": 12}
    run = simulate(load_scenario("fsgld-toy", few), tmp_path / "run")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    rows = cells(page, "posterior")

    assert rows[1][2] == str(len(run.predictive)) == str(run.sampled["num_samples"])
    assert rows[1][3] == f"{run.sampled['predictive_log_likelihood']:.4f}"
    mean = run.posterior["mean"].iloc[0]
    assert [run.posterior["parameter"].iloc[0], f"{mean:.4g}"] in [row[:2] for row in rows]
    shown = pd.to_numeric([row[-1] for row in rows if len(row) == 3 and row[0] != "line"])
    assert list(shown) == pytest.approx(run.predictive["predictive_log_likelihood"].tolist(), abs=1e-4)
