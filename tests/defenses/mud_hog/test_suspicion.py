"""The counters, by hand from the book-keeping of the robustness spec, 2.2, steps 3b and 4."""

import pytest

from gauntlet.defenses.mud_hog.suspicion import CLEAN, after_reliability, after_suspicion, flag_of


def judged(suspicions, start=CLEAN, decision_rounds=2):
    file = start
    for t, suspect in enumerate(suspicions):
        file = after_suspicion(file, suspect, decision_rounds, t)
    return file


@pytest.mark.parametrize(("kind", "needed"), [("sign_flip", 2), ("noise", 2), ("targeted", 4)])
def test_a_kind_is_confirmed_after_its_number_of_rounds(kind, needed):
    assert flag_of(judged([kind] * (needed - 1))) is None
    confirmed = judged([kind] * (needed + 2))
    assert flag_of(confirmed) == kind
    assert confirmed["since"] == {kind: needed - 1, "malicious": needed - 1}


def test_suspicions_of_all_kinds_add_up():
    assert flag_of(judged(["targeted", "noise"])) == "noise"


def test_two_clean_rounds_in_a_row_pardon_and_one_does_not():
    assert flag_of(judged(["sign_flip"] * 2 + [None])) == "sign_flip"
    assert judged(["sign_flip"] * 2 + [None, None])["since"] == {}
    assert flag_of(judged(["sign_flip"] * 2 + [None, "noise", None])) == "sign_flip"


def test_a_noisy_client_that_is_clean_now_and_then_turns_out_unreliable():
    """r grows by one in the first clean round after a confirmation; at 2 it moves from U to R."""
    file = judged(["noise", "noise", None, "noise", None])
    assert file["since"] == {"unreliable": 4}
    assert (file["unreliability"], flag_of(file)) == (2, "unreliable")


def test_the_first_kind_that_was_confirmed_is_the_one_that_counts():
    assert flag_of(judged(["targeted"] * 4 + ["sign_flip"] * 3)) == "targeted"


def test_three_poor_rounds_make_a_client_unreliable_and_good_ones_wear_it_off():
    file, states = dict(CLEAN), []
    for t, poor in enumerate([1, 1, 1, 0, 0, 0, 0]):
        file = after_reliability(file, bool(poor), 2, t)
        states.append((file["unreliability"], flag_of(file)))
    u = "unreliable"
    assert states == [(1, None), (2, None), (3, u), (2, u), (1, u), (0, u), (0, None)]
    assert CLEAN == {"suspicion": 0, "unreliability": 0, "since": {}}
