"""The table of a matrix from rows made by hand: worst case as ByzFL reports it."""

import math

import pandas as pd
import pytest

from gauntlet.sims.matrix_table import matrix_table, print_matrix


def row(attack, curve, seed=0, share=0.2, defense="mean", **changes):
    base = {
        "attack": attack,
        "share": share,
        "defense": defense,
        "seed": seed,
        "curve": pd.Series(curve, index=range(len(curve))),
        "attack_success_rate": None,
        "aggregate_distance": 1.0,
        "attackers": 2,
        "caught": 0,
        "delay": 0.0,
        "true_positives": 0,
        "false_positives": 0,
        "false_negatives": 4,
        "true_negatives": 16,
    }
    return {**base, **changes}


def field(table, attack, defense="mean", share=0.2):
    chosen = (table["attack"] == attack) & (table["defense"] == defense) & (table["share"] == share)
    (found,) = table[chosen].to_dict("records")
    return found


def test_the_best_step_is_taken_before_the_worst_attack_and_the_mean_over_seeds_before_both():
    """a: mean curve 0.3, 0.7, 0.4; b: 0.5, 0.6, 0.6. Worst at the end is a, but worst of the best is b."""
    rows = [
        row("no attack", [0.5, 0.9, 0.9]),
        row("no attack", [0.5, 0.8, 1.0], seed=1),
        row("a", [0.2, 0.8, 0.4]),
        row("a", [0.4, 0.6, 0.4], seed=1),
        row("b", [0.4, 0.7, 0.5]),
        row("b", [0.6, 0.5, 0.7], seed=1),
    ]
    table = matrix_table(rows)

    assert table["attack"].tolist() == ["no attack", "a", "b", "worst case"]
    assert field(table, "a")["best_accuracy"] == pytest.approx(0.7)
    assert field(table, "a")["accuracy"] == pytest.approx(0.4)
    assert field(table, "b")["accuracy_std"] == pytest.approx(0.02**0.5)
    assert field(table, "b")["drop"] == pytest.approx(0.95 - 0.6)
    worst = field(table, "worst case")
    assert (worst["best_accuracy"], worst["worst_attack"]) == (pytest.approx(0.6), "b")
    assert worst["accuracy"] == pytest.approx(0.4)
    assert worst["drop"] == pytest.approx(0.35)
    assert (worst["seeds"], field(table, "a")["seeds"]) == (2, 2)


def test_detection_is_pooled_over_rounds_and_seeds():
    """3 of 4 and 1 of 4 found; 1 false alarm among 17 + 16; two of four attackers caught, after 1 and 2."""
    found = {"true_positives": 3, "false_negatives": 1, "false_positives": 1, "caught": 2, "delay": 3.0}
    rows = [
        row("no attack", [0.9]),
        row("a", [0.5], **found),
        row("a", [0.5], seed=1, true_positives=1, false_negatives=3),
    ]
    table = matrix_table(rows)
    a = field(table, "a")

    assert (a["precision"], a["recall"]) == (4 / 5, 4 / 8)
    assert a["false_positive_rate"] == pytest.approx(1 / 33)
    assert (a["delay"], a["caught"]) == (1.5, 0.5)
    assert field(table, "worst case")["recall"] == 0.5


def test_a_defense_that_never_flags_has_no_detection_and_one_that_finds_nothing_has_recall_zero():
    rows = [
        row("no attack", [0.9]),
        row("a", [0.5]),
        row("no attack", [0.9], defense="watch", false_positives=1),
        row("a", [0.5], defense="watch"),
    ]
    table = matrix_table(rows)

    assert math.isnan(field(table, "a")["recall"])
    assert field(table, "a", "watch")["recall"] == 0.0
    assert field(table, "no attack", "watch")["false_positive_rate"] == pytest.approx(1 / 17)


def test_with_nobody_flagged_and_nobody_to_flag_detection_is_perfect_where_the_defense_can_flag():
    """The same convention as a round's: 1 and 1; with alarms alone, precision is 0 and recall 1."""
    nobody = {"attackers": 0, "false_negatives": 0, "true_negatives": 20}
    rows = [
        row("no attack", [0.9], defense="watch", **nobody),
        row("a", [0.5], defense="watch", true_positives=4, false_negatives=0),
        row("b", [0.5], defense="watch"),
        row("unreliable", [0.9], defense="watch", **{**nobody, "false_positives": 2}),
        row("no attack", [0.9], **nobody),
    ]
    table = matrix_table(rows)
    found = {name: field(table, name, "watch") for name in ("no attack", "b", "unreliable", "worst case")}

    assert (found["no attack"]["precision"], found["no attack"]["recall"]) == (1.0, 1.0)
    assert (found["unreliable"]["precision"], found["unreliable"]["recall"]) == (0.0, 1.0)
    assert math.isnan(found["b"]["precision"])
    assert (found["b"]["recall"], found["worst case"]["recall"]) == (0.0, 0.0)
    assert math.isnan(field(table, "no attack")["precision"])
    assert math.isnan(field(table, "no attack")["recall"])


def test_success_is_the_worst_of_those_that_have_one():
    rows = [
        row("no attack", [0.9]),
        row("a", [0.5], attack_success_rate=0.3),
        row("b", [0.6], attack_success_rate=0.8),
        row("c", [0.7]),
    ]
    table = matrix_table(rows)

    assert field(table, "worst case")["attack_success_rate"] == 0.8
    assert math.isnan(field(table, "c")["attack_success_rate"])


def test_a_failed_field_is_blank_says_why_and_leaves_no_worst_case():
    keys = {"attack": "b", "share": 0.2, "defense": "mean", "seed": 0}
    rows = [row("no attack", [0.9]), row("a", [0.5]), {**keys, "reason": "too few clients"}]
    table = matrix_table(rows)

    assert field(table, "b")["reason"] == "too few clients"
    assert math.isnan(field(table, "b")["best_accuracy"])
    assert math.isnan(field(table, "worst case")["best_accuracy"])
    assert field(table, "a")["best_accuracy"] == 0.5


def test_shares_and_defenses_keep_their_order_and_their_own_baseline():
    rows = [
        row(attack, [accuracy], share=share, defense=defense)
        for defense, share, clean, hurt in (("b", 0.3, 0.9, 0.5), ("b", 0.1, 0.8, 0.7), ("a", 0.3, 0.6, 0.6))
        for attack, accuracy in (("no attack", clean), ("x", hurt))
    ]
    table = matrix_table(rows)

    assert list(dict.fromkeys(zip(table["share"], table["defense"], strict=True))) == [
        (0.1, "b"),
        (0.3, "b"),
        (0.3, "a"),
    ]
    assert field(table, "x", "b", 0.3)["drop"] == pytest.approx(0.4)
    assert field(table, "x", "b", 0.1)["drop"] == pytest.approx(0.1)


def test_a_table_that_goes_into_a_file_is_as_wide_as_its_names(capsys, monkeypatch):
    """Rich would cut at 80 letters."""
    monkeypatch.delenv("COLUMNS", raising=False)
    names = [f"{'gaussian_with_a_long_name_' * 5}{number}" for number in range(2)]
    rows = [
        {"share": 0.2, "defense": name, "attack": attack, "best_accuracy": 0.5, "worst_attack": "[red]" * 20}
        for name in names
        for attack in ("no attack", "worst case")
    ]
    print_matrix(pd.DataFrame(rows))
    printed = capsys.readouterr().out

    assert all(name in printed for name in names)
    assert "[red]" * 20 in printed


def test_a_flag_on_an_attacker_at_rest_is_right():
    """By hand: of 8 flags 3 are on attackers, 3 on attackers at rest and 2 on others; 5 attacks in all."""
    found = {"true_positives": 3, "false_negatives": 2, "false_positives": 2, "true_negatives": 6}
    told = field(matrix_table([row("no attack", [0.9]), row("a", [0.5], resting_flagged=3, **found)]), "a")
    assert (told["precision"], told["recall"], told["false_positive_rate"]) == (6 / 8, 3 / 5, 2 / 8)


def test_defenses_are_ranked_by_their_worst_case_among_those_of_their_share():
    """By hand: worst cases .5, .7, .5 and one unknown at a share of .2; .1 alone at .4."""
    least = {"a": 0.5, "b": 0.7, "c": 0.5}
    rows = [
        row(attack, [value], defense=name)
        for name, value in least.items()
        for attack in ("no attack", "x", "y")
    ]
    rows += [
        row("no attack", [0.9], defense="d"),
        {"attack": "x", "share": 0.2, "defense": "d", "seed": 0, "reason": "no"},
    ]
    rows += [row(attack, [0.1], defense="a", share=0.4) for attack in ("no attack", "x")]
    table = matrix_table(rows)
    worst = table[table["attack"] == "worst case"].set_index(["share", "defense"])["rank"]

    assert worst.drop((0.2, "d")).to_dict() == {(0.2, "a"): 2, (0.2, "b"): 1, (0.2, "c"): 2, (0.4, "a"): 1}
    assert math.isnan(worst[0.2, "d"])
    assert table.loc[table["attack"] != "worst case", "rank"].isna().all()
