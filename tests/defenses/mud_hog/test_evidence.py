"""How evidence adds up and fades, by hand: a suspicion counts 1, a clean round takes off a sixth."""

import pytest

from gauntlet.defenses.mud_hog.evidence import FADING, after_tests, weight_of
from gauntlet.defenses.mud_hog.suspicion import CLEAN, flag_of

NEW = {**CLEAN, "evidence": {}}


def judged(rounds, start=NEW, needed=2, silent=(), old_enough=True):
    file = start
    for t, kind in enumerate(rounds):
        file = after_tests(file, {kind} - {None}, silent, needed, old_enough, t)
    return file


def test_two_suspicions_convict_and_one_does_not():
    assert flag_of(judged(["noise"])) is None
    file = judged(["noise", "noise"])
    assert flag_of(file) == "noise"
    assert file["since"] == {"noise": 1, "malicious": 1}


@pytest.mark.parametrize("every", [2, 3, 4])
def test_who_attacks_in_every_few_rounds_only_is_convicted_too(every):
    """1 - (every - 1)/6 are left of a suspicion when the next one comes: above 0 for up to six rounds."""
    rounds = [("targeted" if t % every == 0 else None) for t in range(5 * every)]
    assert flag_of(judged(rounds)) == "targeted"


def test_suspicions_of_different_kinds_do_not_add_up():
    assert flag_of(judged(["noise", "targeted", "sign_flip", "copied", "boosted"])) is None


def test_a_conviction_is_lifted_after_clean_rounds_and_a_lone_suspicion_forgotten():
    """From 2, the bound of 1 is passed in the seventh clean round; from 1, 0 is reached in the sixth."""
    convicted = judged(["sign_flip"] * 2)
    assert flag_of(judged([None] * 6, convicted)) == "sign_flip"
    assert judged([None] * 7, convicted)["since"] == {}
    assert judged([None] * 5, judged(["noise"]))["evidence"] == pytest.approx({"noise": 1 / 6})
    assert judged([None] * 6, judged(["noise"]))["evidence"] == {}


def test_evidence_stops_at_one_more_than_convicts_so_that_nobody_is_convicted_for_ever():
    file = judged(["noise"] * 50)
    assert weight_of(file) == 3.0
    assert judged([None] * 13, file)["since"] == {}


def test_a_round_in_which_a_test_cannot_tell_counts_nothing():
    file = judged(["sign_flip"] * 2 + [None] * 20, silent={"sign_flip"})
    assert flag_of(file) == "sign_flip"
    assert file["evidence"] == {"sign_flip": 2.0}
    other = judged(["noise"] * 2 + [None] * 2, silent={"sign_flip"})
    assert weight_of(other) == pytest.approx(2 - 2 * FADING)


def test_nobody_is_convicted_before_there_is_a_history_but_evidence_is_kept():
    young = judged(["copied"] * 3, old_enough=False)
    assert flag_of(young) is None
    assert flag_of(judged(["copied"], young)) == "copied"


def test_one_lifted_conviction_leaves_another():
    both = judged(
        [None] * 7, after_tests(judged(["noise"] * 2), {"copied"}, (), 1, True, 5), silent={"copied"}
    )
    assert set(both["since"]) == {"copied", "malicious"}


def test_an_unreliable_client_is_no_malicious_one_and_is_remembered_as_long():
    """From 3, 1 is left after twelve clean rounds and less after thirteen."""
    file = judged(["unreliable"] * 3)
    assert (flag_of(file), file["since"], weight_of(file)) == ("unreliable", {"unreliable": 1}, 0.0)
    assert flag_of(judged([None] * 12, file)) == "unreliable"
    assert judged([None] * 13, file)["since"] == {}


def test_who_is_pardoned_for_malice_stays_unreliable():
    file = judged(["noise"] * 2 + [None] * 7, judged(["unreliable"] * 3))
    assert file["since"] == {"unreliable": 1}
