"""Delays and rates from tables made by hand, with pandas alone."""

import numpy as np
import pandas as pd

from gauntlet.sims.scores import by_kind, delays, durability, false_alarms


def people(*rows):
    """Rows of (round, client_id, truth, flag), and a status if it is not ok."""
    whole = [(*row, "ok") if len(row) == 4 else row for row in rows]
    return pd.DataFrame(whole, columns=["round", "client_id", "truth", "flag", "status"])


STORY = people(
    (0, 1, "honest", "noise"),  # client 1 sleeps: a false alarm, no catch
    (0, 2, "sign_flip", "sign_flip"),
    (0, 3, "label_flip", None),
    (0, 4, "unreliable", "malicious"),
    (2, 1, "sign_flip", None),
    (2, 2, "sign_flip", None),
    (2, 3, "label_flip", "unreliable"),  # no catch: it says unreliable
    (2, 4, "unreliable", "unreliable"),
    (5, 1, "sign_flip", "malicious", "dropped"),  # never came
    (5, 3, "label_flip", None),
    (6, 1, "sign_flip", "noise"),
)


def test_a_delay_runs_from_the_first_attack_to_the_first_catch_that_says_malicious():
    table = delays(STORY).set_index("client_id")

    assert table["truth"].to_dict() == {1: "sign_flip", 2: "sign_flip", 3: "label_flip"}
    assert table["start"].to_dict() == {1: 2, 2: 0, 3: 0}
    assert table.loc[[1, 2], "delay"].tolist() == [4.0, 0.0]
    assert np.isnan(table.loc[3, "delay"])


def test_kinds_are_told_apart():
    """sign_flip was seen in rounds 0, 2, 2, 6 and flagged in two of them."""
    table = by_kind(STORY).set_index("truth")

    assert table["seen"].to_dict() == {"honest": 1, "label_flip": 3, "sign_flip": 4, "unreliable": 2}
    assert table["flagged"].to_dict() == {
        "honest": 1.0,
        "label_flip": 0.0,
        "sign_flip": 0.5,
        "unreliable": 0.5,
    }
    assert table.loc["unreliable", "doubted"] == 0.5
    assert (table.loc["sign_flip", "clients"], table.loc["sign_flip", "caught"]) == (2, 2)
    assert table.loc["sign_flip", "delay"] == 2.0
    assert table.loc["label_flip", "caught"] == 0


def test_false_alarms_are_the_flagged_among_the_well_meaning():
    table = false_alarms(STORY)

    assert table["round"].tolist() == [0, 2]
    assert table["false_alarms"].tolist() == [1.0, 0.0]


def test_without_attackers_there_is_nobody_to_catch():
    quiet = people((0, 1, "honest", None), (0, 2, "honest", "noise"))

    assert delays(quiet).empty
    assert false_alarms(quiet)["false_alarms"].tolist() == [0.5]
    assert by_kind(quiet)["flagged"].tolist() == [0.5]


def test_canaries_of_an_audit_are_neither_attackers_nor_clients():
    canaries = people((0, 7, "canary", None), (2, 8, "canary", "malicious"), (6, 7, "canary", "noise"))
    audited = pd.concat([STORY, canaries], ignore_index=True)

    for measure in (delays, by_kind, false_alarms):
        pd.testing.assert_frame_equal(measure(audited), measure(STORY))


def test_durability_counts_the_rounds_until_the_door_is_shut():
    """Active until round 2; then 0.9, 0.6, 0.4, 0.7: shut at round 5, three rounds later."""
    rates = [0.1, 0.8, 1.0, 0.9, 0.6, 0.4, 0.7]
    first = pd.DataFrame(
        {
            "round": range(7),
            "number": 0,
            "attack": "dba",
            "active": [True] * 3 + [False] * 4,
            "success_rate": rates,
        }
    )
    open_ = first.assign(number=1, success_rate=1.0)

    table = durability(pd.concat([first, open_]))

    assert table["rounds"].iloc[0] == 3
    assert np.isnan(table["rounds"].iloc[1])
    assert durability(first, threshold=0.65)["rounds"].tolist() == [2]


def test_an_attacker_at_rest_is_a_kind_of_its_own_and_no_false_alarm():
    """By hand: 1 attacks in rounds 0 and 2, and in round 0 its message is lost; 2 is honest."""
    table = people(
        (2, 1, "ipm", None),
        (0, 1, "ipm", None, "dropped"),
        (1, 1, "honest", "malicious"),
        (1, 2, "honest", "malicious"),
        (3, 1, "honest", None),
        (3, 2, "honest", None),
    )
    kinds = by_kind(table).set_index("truth")

    assert kinds["seen"].to_dict() == {"honest": 2, "ipm": 1, "resting": 2}
    assert kinds["flagged"].to_dict() == {"honest": 0.5, "ipm": 0.0, "resting": 0.5}
    assert false_alarms(table)["false_alarms"].tolist() == [1.0, 0.0]
    assert delays(table)["start"].tolist() == [2]
