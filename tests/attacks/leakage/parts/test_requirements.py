from dataclasses import replace
from typing import ClassVar

import pytest

from gauntlet.attacks.leakage.bias_counts import BiasCounts
from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.requirements import (
    letter_of,
    oracles_of,
    refuse_number,
    refuse_unmet,
    takes_labels,
    told,
)
from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.core.leakage_knowledge import LeakageKnowledge


def test_the_refusal_lists_every_missing_item(digits, mlp, observe):
    """Leakage specification, section 12: "requirement refusal lists missing items"."""
    x, y = digits
    observation = replace(observe(mlp(), x[:1], y[:1]), knowledge=LeakageKnowledge(batch_size=1))

    with pytest.raises(PluginError, match=r"missing here: lr, local_steps \(client 0, round 0\)"):
        refuse_unmet(DLG(), observation)


def test_the_refusal_of_an_unknown_step_size_says_what_needs_none(digits, mlp, observe):
    x, y = digits
    seen = observe(mlp(), x[:1], y[:1])
    unknown = replace(seen, knowledge=replace(seen.knowledge, lr=None))

    with pytest.raises(PluginError, match=r"missing here: lr \(client 0, round 0\); .*inverting_gradients"):
        refuse_unmet(DLG(), unknown)
    refuse_unmet(InvertingGradients(), unknown)


def test_an_attack_is_refused_where_knowledge_has_another_value_than_it_works_with(digits, mlp, observe):
    x, y = digits
    knowledge = LeakageKnowledge(batch_size=2, local_steps=3, lr=0.1)
    observation = replace(observe(mlp(), x[:2], y[:2]), knowledge=knowledge)

    with pytest.raises(
        PluginError, match=r"DLG works with local_steps = 1 only, got local_steps = 3 \(client 0"
    ):
        refuse_unmet(DLG(), observation)


def test_an_attack_that_declares_nothing_runs_on_anything(digits, mlp, observe):
    x, y = digits

    refuse_unmet(object(), replace(observe(mlp(), x[:1], y[:1]), knowledge=LeakageKnowledge()))


class Assuming:
    """An attack on plain steps that does better with labels."""

    requires: ClassVar = {"batch_size": "exact"}
    assumes: ClassVar = {"optimizer": "sgd", "weight_decay": 0.0}
    uses = ("labels",)


def test_what_an_attack_assumes_must_hold_where_it_is_known(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])

    def see(**knowledge):
        refuse_unmet(Assuming(), replace(observation, knowledge=LeakageKnowledge(batch_size=1, **knowledge)))

    see()
    see(optimizer="sgd", weight_decay=0.0)
    with pytest.raises(
        PluginError, match=r"Assuming works with optimizer = sgd only, got optimizer = adam \("
    ):
        see(optimizer="adam", weight_decay=0.0)
    with pytest.raises(PluginError, match=r"optimizer = sgd and weight_decay = 0.0 only, got .* = 0.5"):
        see(optimizer="adam", weight_decay=0.5)


def test_an_assumption_about_no_item_of_knowledge_is_refused(digits, mlp, observe):
    x, y = digits
    for wrong in ({"assumes": {"optimiser": "sgd"}}, {"uses": ("label",)}):
        attack = type("Misspelt", (), wrong)()
        with pytest.raises(PluginError, match=r"no such item of knowledge: (optimiser|label); allowed"):
            refuse_unmet(attack, observe(mlp(), x[:1], y[:1]))


def test_labels_are_for_attacks_that_name_them():
    assert takes_labels(DLG())
    assert takes_labels(guard(DLG(), "the attack"))
    assert takes_labels(type("Needs", (), {"requires": {"labels": "exact"}})())
    assert not takes_labels(BiasCounts())
    assert not takes_labels(object())


def test_the_refusal_of_unknown_labels_says_how_they_are_told(digits, mlp, observe):
    x, y = digits
    attack = type("Needs", (), {"requires": {"labels": "exact"}})()
    with pytest.raises(PluginError, match=r"missing here: labels .*; labels_known = true tells the labels"):
        refuse_unmet(attack, observe(mlp(), x[:1], y[:1]))


def test_an_item_must_be_known_as_surely_as_the_attack_says(digits, mlp, observe):
    x, y = digits
    seen = observe(mlp(), x[:2], y[:2])
    attack = type("Sure", (), {"requires": {"batch_size": "estimated", "lr": "oracle"}})()

    def told(**levels):
        return replace(seen, knowledge=replace(seen.knowledge, levels=levels))

    refuse_unmet(attack, told(batch_size="estimated", lr="oracle"))
    with pytest.raises(
        PluginError, match=r"Sure needs to know batch_size \(estimated\), lr \(oracle\); missing here: lr \("
    ):
        refuse_unmet(attack, told())
    with pytest.raises(
        PluginError, match=r"DLG needs .* missing here: lr \(estimated\) \(client 0, round 0\)"
    ):
        refuse_unmet(DLG(), told(lr="estimated"))


def test_an_attack_is_refused_on_a_kind_of_message_that_it_does_not_take(digits, mlp, observe):
    x, y = digits
    summed = replace(observe(mlp(), x[:2], y[:2]), kind="aggregate", contributors=8)

    words = r"DLG works on a message of kind update or gradient, got an aggregate of 8 clients "
    words += r"\(client 0, round 0\): the server sees no message of one client; use an attack on sums, such "
    with pytest.raises(PluginError, match=words):
        refuse_unmet(DLG(), summed)
    refuse_unmet(type("Sum", (), {"kinds": ("aggregate",)})(), summed)
    with pytest.raises(
        PluginError, match=r"declares kinds = \('sum',\): 'sum' is no kind of message; allowed"
    ):
        refuse_unmet(type("Misspelt", (), {"kinds": ("sum",)})(), summed)


def test_an_attack_takes_as_many_rounds_together_as_it_says():
    pair = type("Pair", (), {"least_rounds": 2, "most_rounds": 3})()
    for rounds in (2, 3):
        refuse_number(pair, rounds)
    for rounds in (1, 4):
        with pytest.raises(
            PluginError, match=f"Pair takes 2 to 3 rounds of one client together, got {rounds}"
        ):
            refuse_number(pair, rounds)
    with pytest.raises(PluginError, match="DLG takes 1 rounds of one client together, got 2"):
        refuse_number(DLG(), 2)
    with pytest.raises(PluginError, match="least_rounds = 2 and most_rounds = 1: 1 <= least_rounds"):
        refuse_number(type("Muddled", (), {"least_rounds": 2})(), 2)


def test_an_attack_is_handed_what_it_names_and_its_letter_counts_that_alone(digits, mlp, observe):
    x, y = digits
    seen = observe(mlp(), x[:2], y[:2])
    seen = replace(seen, knowledge=replace(seen.knowledge, labels=(0, 1), levels={"batch_size": "oracle"}))
    frugal = type("Frugal", (), {"requires": {"batch_size": "exact"}, "uses": ("codec",)})()

    assert told(frugal, seen).knowledge == LeakageKnowledge(2, levels={"batch_size": "oracle"})
    assert letter_of(frugal, [seen]) == "B"
    assert oracles_of(frugal, [seen, seen]) == ["batch_size"]
    assert letter_of(DLG(), [seen]) == "C"
    assert letter_of(object(), [seen]) == "A"
    assert letter_of(object(), [replace(seen, planted={"layer": 1})]) == "F"


def test_what_the_codec_says_of_its_frame_is_told_to_an_attack_that_names_it(digits, mlp, observe):
    x, y = digits
    observation = replace(observe(mlp(), x[:1], y[:1]), mismatch=lambda u: u.sum(-1), carries=0.5)

    class Aware(Assuming):
        uses = ("codec",)

    deaf, aware = told(Assuming(), observation), told(Aware(), observation)
    assert (deaf.mismatch, deaf.carries) == (None, 0)
    assert (aware.mismatch, aware.carries) == (observation.mismatch, 0.5)


def test_as_many_labels_are_known_as_there_are_examples():
    with pytest.raises(ValueError, match="labels must be batch_size = 2 of them, got 1"):
        LeakageKnowledge(batch_size=2, labels=(3,))
