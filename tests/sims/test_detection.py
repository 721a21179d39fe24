"""Cumulative detection from a table made by hand; the area under the curve against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from gauntlet.sims.detection import client_records, confusion, roc_auc, totals

COLUMNS = ["round", "client_id", "truth", "flag", "score", "status"]
STORY = pd.DataFrame(
    [
        (0, 1, "honest", "noise", 1.0, "ok"),  # sleeps, and is named too early
        (2, 1, "sign_flip", None, 0.5, "ok"),
        (3, 1, "honest", "sign_flip", 2.0, "ok"),  # named in a pause: no false alarm
        (0, 2, "label_flip", "targeted", 2.0, "ok"),
        (4, 2, "label_flip", "targeted", 3.0, "ok"),
        (0, 3, "label_flip", "unreliable", 0.0, "ok"),  # says unreliable: not caught
        (1, 3, "label_flip", "noise", 9.0, "dropped"),  # never came
        (0, 4, "honest", None, 0.0, "ok"),
        (1, 5, "unreliable", "targeted", 2.0, "ok"),
        (2, 5, "unreliable", "unreliable", 0.0, "ok"),
        (0, 6, "canary", "noise", 9.0, "ok"),
    ],
    columns=COLUMNS,
)


def test_each_client_has_one_line_over_the_whole_run():
    table = client_records(STORY).set_index("client_id")
    assert table.index.tolist() == [1, 2, 3, 4, 5]
    assert table["truth"].tolist() == ["sign_flip", "label_flip", "label_flip", "honest", "unreliable"]
    assert table["caught"].fillna(-1).tolist() == [3, 0, -1, -1, -1]
    assert table["wrongly"].tolist() == [True, False, False, False, True]
    assert table["score"].tolist() == [2.0, 3.0, 0.0, 0.0, 0.0]


def test_totals_count_clients_and_not_rounds():
    """2 of 3 caught, 2 wrongly named (client 1 too early): precision 2/4, recall 2/3, F1 4/7."""
    found = totals(STORY)
    assert (found["attackers"], found["caught"], found["wrongly"]) == (3, 2, 2)
    assert found["precision"] == 0.5
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["delay"] == 0.5


def test_kinds_are_confused_as_they_were_last_named():
    table = confusion(STORY)
    assert table.loc["label_flip"].to_dict() == {"none": 0, "sign_flip": 0, "targeted": 1, "unreliable": 1}
    assert table.loc["honest", "none"] == 1


def test_the_area_under_the_curve_is_scikit_learns():
    rng = np.random.default_rng(0)
    rows = [
        (0, i, "ipm" if i < 7 else "honest", None, round(rng.normal() + (i < 7), 1), "ok") for i in range(30)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    assert roc_auc(table) == pytest.approx(roc_auc_score(table["client_id"] < 7, table["score"]))


def test_without_attackers_there_is_nothing_to_find_and_no_curve():
    calm = pd.DataFrame([(0, i, "honest", None, 0.0, "ok") for i in range(4)], columns=COLUMNS)
    found = totals(calm)
    assert (found["recall"], found["precision"], found["f1"]) == (1.0, 1.0, 1.0)
    assert np.isnan(found["auc"])
    missed = calm.assign(truth="ipm")
    assert np.isnan(totals(missed)["precision"])
    assert totals(missed)["recall"] == 0.0
