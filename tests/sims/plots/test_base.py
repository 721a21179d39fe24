"""From many seeds to one line: every expected number is calculated by hand."""

from dataclasses import replace

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.base import groups, over_seeds


def test_seeds_of_one_label_become_their_mean_between_the_least_and_the_largest(recorded):
    runs = [
        recorded("a", s, accuracy=values) for s, values in enumerate([[0.1, 0.4], [0.2, 0.5], [0.6, 0.9]])
    ]

    table = over_seeds(runs, ["accuracy"])

    assert table["round"].tolist() == [0, 1]
    assert table["accuracy"].tolist() == pytest.approx([0.3, 0.6])  # (.1+.2+.6)/3, (.4+.5+.9)/3
    assert table["accuracy_low"].tolist() == [0.1, 0.4]
    assert table["accuracy_high"].tolist() == [0.6, 0.9]
    assert table["seeds"].tolist() == [3, 3]


def test_the_other_band_is_one_sample_standard_deviation_either_side(recorded):
    runs = [recorded("a", s, accuracy=[v]) for s, v in enumerate([0.1, 0.3, 0.5])]

    row = over_seeds(runs, ["accuracy"], band="std").iloc[0]

    assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((0.1, 0.5))  # 0.3 -+ sqrt(.08 / 2)


def test_a_single_seed_has_a_band_of_no_width(recorded):
    for band in ("range", "std"):
        row = over_seeds([recorded("a", accuracy=[0.4])], ["accuracy"], band=band).iloc[0]
        assert row["accuracy_low"] == row["accuracy_high"] == 0.4


def test_a_round_that_one_seed_lacks_is_left_out(recorded):
    runs = [recorded("a", 0, accuracy=[0.1, np.nan, 0.3]), recorded("a", 1, accuracy=[0.3, 0.5])]

    table = over_seeds(runs, ["accuracy"], needed=["accuracy"])

    assert table[["round", "accuracy"]].to_numpy().tolist() == [[0, 0.2]]


def test_seeds_without_a_common_round_are_refused(recorded):
    runs = [recorded("a", 0, accuracy=[0.1, np.nan]), recorded("a", 1, accuracy=[np.nan, 0.2])]
    with pytest.raises(ScenarioError, match="2 seeds of 'a' have no round in common"):
        over_seeds(runs, ["accuracy"], needed=["accuracy"])


def test_labels_keep_the_order_of_the_runs_and_a_single_scenario_its_bare_labels(recorded):
    assert list(groups([recorded("b"), recorded("a"), recorded("b", 1)])) == ["b", "a"]
    assert list(groups([recorded("")])) == ["tiny"]


def test_runs_of_several_scenarios_bear_the_scenario_before_their_label(recorded):
    other = recorded("a", manifest={"scenario": {"name": "large"}})
    assert list(groups([recorded("a"), other, recorded("")])) == ["tiny: a", "large: a", "tiny"]


def test_the_same_label_and_seed_twice_is_refused_rather_than_averaged(recorded):
    with pytest.raises(ScenarioError, match=r"several runs are 'a' with the same seed \(seeds \[1, 1\]\)"):
        groups([recorded("a", 1), recorded("a", 1)])


def test_the_same_label_and_seed_from_two_folders_bear_the_folder_before_their_label(recorded):
    runs = [replace(recorded("a", seed), origin=folder) for folder in ("x", "y") for seed in (0, 1)]
    assert list(groups(runs)) == ["x: a", "y: a"]
    assert list(groups([runs[0], runs[3]])) == ["a"]  # other seeds: one line


def test_no_run_at_all_is_refused():
    with pytest.raises(ScenarioError, match="at least one result folder"):
        groups([])


def test_another_band_is_refused_with_the_nearest(recorded):
    with pytest.raises(ScenarioError, match="unknown band 'rang'; did you mean 'range'"):
        over_seeds([recorded()], ["accuracy"], band="rang")
