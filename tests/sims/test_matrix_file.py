"""A matrix taken from its folder: a part of its fields, one of its numbers, its spread over seeds."""

import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.matrix_file import only_fields
from gauntlet.sims.matrix_table import matrix_table, print_matrix

COUNTS = {"true_positives": 0, "false_positives": 0, "false_negatives": 0, "true_negatives": 9}
OTHER = {"attack_success_rate": None, "aggregate_distance": 0.1, "attackers": 0, "caught": 0, "delay": 0.0}


def row(attack, curve, seed, defense="mean"):
    keys = {"attack": attack, "share": 0.2, "defense": defense, "seed": seed}
    return {**keys, "curve": pd.Series(curve), **COUNTS, **OTHER}


@pytest.fixture
def table():
    """Two seeds: under shout the mean is best in round 0 and collapses; the file's Cap holds."""
    return matrix_table(
        [
            row(attack, curve, seed, defense)
            for defense, attack, curves in (
                ("mean", "no attack", ([0.8, 0.9], [0.8, 0.9])),
                ("mean", "shout", ([0.7, 0.1], [0.5, 0.3])),
                ("Cap", "no attack", ([0.8, 0.8], [0.8, 0.8])),
                ("Cap", "shout", ([0.6, 0.8], [0.6, 0.8])),
            )
            for seed, curve in enumerate(curves)
        ]
    )


@pytest.fixture
def folder(table, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.json").write_text("{}")
    table.to_csv(tmp_path / "m/matrix.csv", index=False)
    return tmp_path


def test_the_spread_is_of_the_seeds_in_the_round_that_is_shown(table):
    """By hand: shout's best round is 0 with 0.7 and 0.5; it cost 0.2 and 0.4; at the end 0.1 and 0.3."""
    shout = table[(table["defense"] == "mean") & (table["attack"] == "shout")].iloc[0]
    worst = table[(table["defense"] == "mean") & (table["attack"] == "worst case")].iloc[0]

    for of in (shout, worst):
        assert (of["best_accuracy_low"], of["best_accuracy_high"]) == (0.5, 0.7)
        assert of["best_accuracy_std"] == pytest.approx(0.02**0.5)
        assert (of["drop_low"], of["drop_high"]) == (pytest.approx(0.2), pytest.approx(0.4))
        assert (of["accuracy_low"], of["accuracy_high"]) == (0.1, 0.3)


def test_a_table_of_a_matrix_has_the_spread_that_is_asked_for(folder, gauntlet):
    """By hand: half of 0.7 - 0.5; its standard deviation; Student's 12.706 / sqrt(2) times that."""

    def cell(*words):
        told = gauntlet("table", "m", "--only", "defense=mean", "--format", "csv", *words).stdout
        return told.splitlines()[1].split(",")[3]

    assert cell() == "60.0 ± 10.0"
    assert cell("--band", "std") == "60.0 ± 14.1"
    assert cell("--band", "ci") == "60.0 ± 127.1"
    assert cell("--value", "accuracy") == "20.0 ± 10.0"
    refused = gauntlet("table", "m", "--value", "false_positive_rate", "--band", "std").refusal()
    assert "false_positive_rate" in refused
    assert "mean ± half of the range" in gauntlet("table", "m").stdout


def test_a_band_that_an_older_table_cannot_give_is_refused(folder, gauntlet):
    old = pd.read_csv(folder / "m/matrix.csv")
    old.drop(columns=[c for c in old if c.endswith(("_low", "_high", "_std"))]).to_csv(
        folder / "m/matrix.csv", index=False
    )

    assert "holds no spread of best_accuracy" in gauntlet("table", "m", "--band", "std").refusal()
    assert "±" not in gauntlet("table", "m").stdout


def test_fields_are_taken_by_the_name_that_is_shown_or_typed(table):
    assert set(only_fields(table, ["defense=home/cap.py:Cap"])["defense"]) == {"Cap"}
    assert set(only_fields(table, ["defense=Cap", "defense=mean"])["defense"]) == {"Cap", "mean"}
    assert set(only_fields(table, ["attack=shout"])["attack"]) == {"shout"}
    assert len(only_fields(table, ["share=0.2"])) == len(table)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("defense=median", "--only defense=median leaves no field: it is mean, Cap"),
        ("seed=1", "--only seed=1: unknown axis of a matrix 'seed'"),
        ("defense", "--only needs key=value"),
    ],
)
def test_what_leaves_no_field_is_refused(table, condition, said):
    with pytest.raises(ScenarioError, match=said):
        only_fields(table, [condition])


def test_a_picture_draws_only_what_is_asked_for_under_the_asked_name(folder, gauntlet):
    told = gauntlet(
        *("plot", "matrix", "m", "--only", "defense=mean", "--label", "shout=Loud voice"),
        *("--value", "accuracy", "--out", "a.svg"),
    )

    assert told.stdout.split() == ["a-matrix-final.svg"]
    drawn = (folder / "a-matrix-final.svg").read_text()
    assert ">Loud voice</text>" in drawn
    assert "shout" not in drawn
    assert ">Cap</text>" not in drawn
    assert set(pd.read_csv(folder / "a-matrix-final.csv")["defense"]) == {"mean"}


def test_what_a_matrix_does_not_take_is_refused(folder, gauntlet):
    assert "leaves no field" in gauntlet("plot", "matrix", "m", "--only", "defense=krum").refusal()
    assert "unknown column with a map 'acc'" in gauntlet("plot", "matrix", "m", "--value", "acc").refusal()
    assert "a matrix is drawn alone" in gauntlet("plot", "matrix", "m", "m").refusal()
    assert "takes no 'value'" in gauntlet("plot", "accuracy", "m", "--value", "drop").refusal()


def test_a_title_says_which_round_and_stays_in_a_column(folder, gauntlet):
    gauntlet("plot", "matrix", "m", "--size", "column", "--out", "c.svg")

    assert "best round (%)" in (folder / "c-matrix-accuracy.svg").read_text()
    assert "after the last round (%)" in (folder / "c-matrix-final.svg").read_text()


def test_a_collapse_at_the_end_stands_in_the_consoles_table(table, capsys):
    print_matrix(table)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "mean" in line]

    assert [part.strip() for part in line.split("│")[3:8]] == ["0.900", "0.600", "2", "shout", "0.200"]


def test_a_tables_recall_is_blank_where_nobody_attacks(tmp_path, gauntlet):
    """matrix.csv keeps the convention of all tables of rounds: 1 with nobody to find."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.json").write_text("{}")
    told = "watch,0.2,no attack,1.0,\nwatch,0.2,shout,0.5,0.4\nwatch,0.2,unreliable,1.0,\n"
    (tmp_path / "m/matrix.csv").write_text("defense,share,attack,recall,caught\n" + told)

    shown = gauntlet("table", "m", "--value", "recall", "--format", "csv").stdout
    assert shown.splitlines() == ["Malicious (%),Defense,no attack,shout,unreliable", "20,watch,,50.0,"]
