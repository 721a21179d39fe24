"""Precision and recall by round."""

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.detection import detection


def test_precision_stands_left_and_recall_right(recorded):
    run = recorded(
        "a", true_positives=[1, 2], false_positives=[1, 0], precision=[0.5, 1.0], recall=[0.25, 0.75]
    )

    figure, table = detection([run])

    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("Precision", "Recall")
    assert left.lines[0].get_ydata().tolist() == table["precision"].tolist() == [0.5, 1.0]
    assert right.lines[0].get_ydata().tolist() == table["recall"].tolist() == [0.25, 0.75]


def test_a_round_where_nobody_was_flagged_breaks_the_line_of_precision(recorded):
    run = recorded(true_positives=[1, 0, 1], precision=[1.0, np.nan, 0.5], recall=[0.5, 0.0, 0.5])
    line = detection([run])[0].axes[0].lines[0]
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert np.isnan(line.get_ydata()[1])


def test_every_round_has_its_marker_since_a_lone_round_has_no_line(recorded):
    run = recorded(true_positives=[1] * 40, precision=[1.0, np.nan] * 20, recall=[0.5] * 40)
    assert [axes.lines[0].get_markevery() for axes in detection([run])[0].axes] == [None, None]


def test_seeds_are_averaged_over_those_where_the_share_is_defined(recorded):
    runs = [
        recorded("a", 0, true_positives=[1], precision=[1.0], recall=[0.5]),
        recorded("a", 1, false_negatives=[1], precision=[np.nan], recall=[0.0]),
    ]
    row = detection(runs)[1].iloc[0]
    assert (row["precision"], row["recall"], row["seeds"]) == (1.0, 0.25, 2)


def test_without_a_malicious_client_false_alarms_are_drawn_and_no_recall_of_a_hundred(recorded):
    run = recorded(false_positives=[1, 0], precision=[0.0, 1.0], recall=1.0, false_positive_rate=[0.5, 0.0])
    figure, table = detection([run])

    (axes,) = figure.axes
    assert axes.get_ylabel() == "False alarms"
    assert axes.lines[0].get_ydata().tolist() == [0.5, 0.0]
    assert "recall" not in table


def test_a_round_in_which_nobody_attacks_breaks_the_line_of_recall(recorded):
    run = recorded(true_positives=[0, 1], false_negatives=[0, 1], precision=1.0, recall=[1.0, 0.5])
    assert detection([run])[1]["recall"].isna().tolist() == [True, False]


def test_a_missed_malicious_client_is_a_malicious_client(recorded):
    run = recorded(false_positives=[1], false_negatives=[1], precision=[0.0], recall=[0.0])
    assert len(detection([run])[0].axes) == 2


def test_runs_where_nobody_was_ever_flagged_are_refused_and_told_what_would_help(recorded):
    with pytest.raises(ScenarioError, match="ever flagged in mean, median; a run whose defense flags"):
        detection([recorded("mean"), recorded("median")])


def test_a_defense_that_never_flags_has_no_line_and_is_named_below(recorded):
    watch = recorded("watch", true_positives=[1, 0], precision=[1.0, np.nan], recall=[1.0, 0.0])
    mute = recorded("median", false_negatives=[1, 1], precision=[np.nan] * 2, recall=[0.0, 0.0])

    figure, table = detection([mute, watch])

    assert table["label"].unique().tolist() == ["watch"]
    assert [[line.get_label() for line in axes.lines] for axes in figure.axes] == [["watch"], ["watch"]]
    assert figure.get_supxlabel() == "Never flagged anybody: median."


def test_one_seed_that_flags_keeps_the_label(recorded):
    runs = [
        recorded("a", 0, true_positives=[1], precision=[1.0], recall=[1.0]),
        recorded("a", 1, false_negatives=[1], recall=[0.0]),
    ]
    figure, table = detection(runs)
    assert (table["label"].tolist(), table["recall"].tolist()) == (["a"], [0.5])
    assert figure.get_supxlabel() == ""


def test_a_flag_on_an_attacker_at_rest_is_a_flag(recorded):
    """Of the flagged all have attacked: the table's precision is 1, and so the picture has a curve."""
    run = recorded(
        "late", resting_flagged=[0, 2], false_negatives=[2, 0], precision=[np.nan, 1.0], recall=[0, 1]
    )
    figure, table = detection([run])
    assert table["label"].tolist() == ["late", "late"]
    assert figure.get_supxlabel() == ""
