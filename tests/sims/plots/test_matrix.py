"""Heat maps of a matrix: numbers, places and colours."""

import numpy as np
import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.matrix import heat_maps

NAN = np.nan


@pytest.fixture
def table():
    """Two defenses, one share; mean flags nobody, watch does; only b wants certain labels."""
    columns = ["defense", "share", "attack", "best_accuracy", "drop", "recall", "false_positive_rate"]
    rows = [
        ("mean", 0.2, "no attack", 0.9, 0.0, NAN, NAN),
        ("mean", 0.2, "a", 0.25, 0.65, NAN, NAN),
        ("mean", 0.2, "b", NAN, NAN, NAN, NAN),
        ("mean", 0.2, "worst case", NAN, NAN, NAN, NAN),
        ("watch", 0.2, "no attack", 0.8, 0.0, NAN, 0.125),
        ("watch", 0.2, "a", 0.75, 0.05, 1.0, 0.0),
        ("watch", 0.2, "b", 0.5, 0.3, 0.5, 0.25),
        ("watch", 0.2, "worst case", 0.5, 0.3, 0.5, 0.25),
    ]
    whole = pd.DataFrame(rows, columns=columns)
    return whole.assign(attack_success_rate=[NAN, NAN, NAN, NAN, NAN, NAN, 0.75, 0.75])


def words(axes):
    """Texts by (column, defense), from top to bottom."""
    found = {}
    for text in axes.texts:
        column, row = text.get_position()
        if text.get_text():
            key = (
                axes.get_xticklabels()[round(column)].get_text(),
                axes.get_yticklabels()[round(row)].get_text(),
            )
            found.setdefault(key, []).append(text.get_text())
    return found


def test_every_field_carries_its_number_and_a_failed_one_a_dash(table):
    axes, _ = heat_maps(table, "accuracy").axes

    assert words(axes) == {
        ("no attack", "mean"): ["90.0"],
        ("a", "mean"): ["25.0"],
        ("b", "mean"): ["–"],
        ("worst case", "mean"): ["–"],
        ("no attack", "watch"): ["80.0"],
        ("a", "watch"): ["75.0"],
        ("b", "watch"): ["50.0"],
        ("worst case", "watch"): ["50.0"],
    }
    assert axes.get_title(loc="left") == "20 % malicious"


def test_a_drop_has_no_column_without_an_attack(table):
    axes, _ = heat_maps(table, "drop").axes

    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "worst case"]
    assert words(axes)["a", "mean"] == ["65.0"]


def test_detection_shows_false_alarms_in_small_print(table):
    axes, _ = heat_maps(table, "detection").axes

    assert words(axes)["no attack", "watch"] == ["–", "12.5"]
    assert words(axes)["b", "watch"] == ["50.0", "25.0"]
    assert words(axes)["a", "mean"] == ["–"]


def test_success_shows_only_attacks_that_want_something(table):
    axes, _ = heat_maps(table, "success").axes

    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["b", "worst case"]


def test_good_is_bright_on_every_map(table):
    """cividis runs from dark blue to bright yellow; where less is better it runs the other way."""

    def brightness(name, value):
        image = heat_maps(table, name).axes[0].images[0]
        return sum(image.to_rgba(np.array([value]))[0, :3])

    assert brightness("accuracy", 1.0) > brightness("accuracy", 0.0)
    assert brightness("detection", 1.0) > brightness("detection", 0.0)
    assert brightness("drop", 0.0) > brightness("drop", 0.65)
    assert brightness("success", 0.0) > brightness("success", 1.0)


def test_every_share_has_its_panel(table):
    both = pd.concat([table.assign(share=0.1), table])
    figure = heat_maps(both, "accuracy")

    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["10 % malicious", "20 % malicious"]


def test_a_misspelt_map_is_refused(table):
    with pytest.raises(ScenarioError, match="unknown heat map 'acuracy'; did you mean 'accuracy'"):
        heat_maps(table, "acuracy")


def test_where_nobody_attacks_a_map_shows_false_alarms_and_no_recall_of_a_hundred(table):
    """The table has 1 there, as every table of rounds: there was nobody to miss. So with honest attacks."""
    honest = ("watch", 0.2, "unreliable", 0.8, 0.0, 1.0, 0.2)
    clean = table.assign(recall=table["recall"].mask(table["attack"] == "no attack", 1.0))
    whole = pd.concat([clean, pd.DataFrame([honest], columns=table.columns[:7])], ignore_index=True)
    whole = whole.assign(caught=np.where(whole["attack"].isin(["a", "b"]), 0.5, NAN))
    axes, _ = heat_maps(whole, "detection").axes

    assert words(axes)["no attack", "watch"] == ["–", "12.5"]
    assert words(axes)["unreliable", "watch"] == ["–", "20.0"]
    assert words(axes)["a", "watch"] == ["100.0", "0.0"]
    assert words(axes)["worst case", "watch"] == ["50.0", "25.0"]


def test_the_place_of_a_defense_stands_under_its_worst_case(table):
    ranked = table.assign(rank=[NAN] * 7 + [3.0])
    shown = words(heat_maps(ranked, "accuracy").axes[0])
    assert shown["worst case", "watch"] == ["50.0", "#3"]
    assert shown["a", "watch"] == ["75.0"]
    assert words(heat_maps(ranked, "drop").axes[0])["worst case", "watch"] == ["30.0"]
