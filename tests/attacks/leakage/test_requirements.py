from dataclasses import replace
from typing import ClassVar

import pytest

from gauntlet.attacks.leakage.bias_counts import BiasCounts
from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.requirements import refuse_unmet, takes_labels
from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.core.observation import LeakageKnowledge


def test_the_refusal_lists_every_missing_item(digits, mlp, observe):
    """Leakage specification, section 12: "requirement refusal lists missing items"."""
    x, y = digits
    observation = replace(observe(mlp(), x[:1], y[:1]), knowledge=LeakageKnowledge(batch_size=1))

    with pytest.raises(PluginError, match=r"missing here: lr, local_steps \(client 0, round 0\)"):
        refuse_unmet(DLG(), observation)


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

    requires = ("batch_size",)
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
    assert takes_labels(type("Needs", (), {"requires": ("labels",)})())
    assert not takes_labels(BiasCounts())
    assert not takes_labels(object())


def test_the_refusal_of_unknown_labels_says_how_they_are_told(digits, mlp, observe):
    x, y = digits
    attack = type("Needs", (), {"requires": ("labels",)})()
    with pytest.raises(PluginError, match=r"missing here: labels .*; labels_known = true tells the labels"):
        refuse_unmet(attack, observe(mlp(), x[:1], y[:1]))


def test_as_many_labels_are_known_as_there_are_examples():
    with pytest.raises(ValueError, match="labels must be batch_size = 2 of them, got 1"):
        LeakageKnowledge(batch_size=2, labels=(3,))
