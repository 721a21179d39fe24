"""Levels and letters by their definitions: additions A and G of the leakage specification's vocabulary."""

from itertools import pairwise

import pytest
import torch

from gauntlet.core.leakage_knowledge import ITEMS, LeakageKnowledge, Level, Records

FULL = LeakageKnowledge(1, (3,), 1, 0.1, "topk", "none", "sgd", 0.0, "cross_entropy")


def test_levels_are_ordered_and_what_is_not_told_is_unknown():
    for lower, higher in pairwise(["unknown", "estimated", "exact", "oracle"]):
        assert Level(higher).reaches(Level(lower))
        assert not Level(lower).reaches(Level(higher))
    knowledge = LeakageKnowledge(batch_size=4, lr=0.1, levels={"lr": Level.ESTIMATED})
    assert [knowledge.level(item) for item in ("batch_size", "lr", "labels")] == [
        Level.EXACT,
        Level.ESTIMATED,
        Level.UNKNOWN,
    ]


def test_what_is_missing_is_what_is_known_less_surely_than_it_must_be():
    knowledge = LeakageKnowledge(batch_size=4, lr=0.1, levels={"lr": "estimated", "batch_size": "oracle"})

    assert knowledge.missing({"lr": "estimated", "batch_size": "exact", "labels": "unknown"}) == []
    assert knowledge.missing({"lr": "exact", "batch_size": "oracle", "labels": "estimated"}) == [
        "lr",
        "labels",
    ]
    with pytest.raises(ValueError, match="no such item of knowledge: learning_rate; allowed: auxiliary"):
        knowledge.missing({"learning_rate": "exact"})


@pytest.mark.parametrize("levels", [{"lr": "exact"}, {"batch_size": "unknown"}, {"batch_size": "sure"}])
def test_a_level_must_go_with_what_is_known(levels):
    with pytest.raises(ValueError, match=r"level|valid"):
        LeakageKnowledge(batch_size=4, levels=levels)


@pytest.mark.parametrize(
    ("items", "letter"),
    [
        ((), "A"),
        (("codec", "privacy", "loss"), "A"),
        (("batch_size",), "B"),
        (("batch_size", "labels", "codec"), "B"),
        (("lr", "batch_size"), "C"),
        (("local_steps",), "C"),
        (ITEMS, "C"),
    ],
)
def test_the_letter_is_the_highest_of_what_is_looked_at_and_known(items, letter):
    assert FULL.letter(items) == letter
    assert LeakageKnowledge().letter(items) == "A"
    assert FULL.letter(items, planted=True) == "F"


def test_of_the_knowledge_an_attack_is_handed_what_it_names_with_its_level():
    knowledge = LeakageKnowledge(batch_size=2, labels=(1, 1), lr=0.5, levels={"batch_size": "oracle"})

    assert knowledge.only({"batch_size"}) == LeakageKnowledge(batch_size=2, levels={"batch_size": "oracle"})
    assert knowledge.only({"lr"}) == LeakageKnowledge(lr=0.5)
    assert knowledge.oracles(["lr", "batch_size"]) == ["batch_size"]


def test_records_of_the_clients_distribution_are_the_letter_e_and_with_a_malicious_server_g():
    knowledge = LeakageKnowledge(batch_size=1, lr=0.1, candidates=Records(torch.zeros(2, 3), torch.zeros(2)))

    assert knowledge.letter(("lr", "candidates")) == "E"
    assert knowledge.letter(("lr",)) == "C"
    assert knowledge.letter(("lr", "candidates"), planted=True) == "G"
    assert knowledge.letter(("lr",), planted=True) == "F"
    assert knowledge.only(("lr",)).candidates is None
    with pytest.raises(ValueError, match="need a label an input, got 2 and 1"):
        Records(torch.zeros(2, 3), torch.zeros(1))
