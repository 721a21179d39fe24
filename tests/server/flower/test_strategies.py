"""Flower's strategies as defenses, against the strategies themselves, ours, and hand calculations."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from flower_replies import updates_of
from flwr.serverapp.strategy import FedAvg

from gauntlet.core.errors import PluginError
from gauntlet.defenses import DEFENSES, contract

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("ours", "options", "flowers", "theirs"),
    [
        ("mean", {}, "FedAvg", {}),
        ("median", {}, "FedMedian", {}),
        ("trimmed_mean", {"beta": 0.2}, "FedTrimmedAvg", {"beta": 0.2}),
        ("krum", {"num_byzantine": 2}, "Krum", {"num_malicious_nodes": 2}),
        (
            "multi_krum",
            {"num_byzantine": 2, "num_selected": 5, "weighting": "num_examples"},
            "MultiKrum",
            {"num_malicious_nodes": 2, "num_nodes_to_select": 5},
        ),
        (
            "bulyan",
            {"num_byzantine": 2, "selection": "oneshot"},
            "Bulyan",
            {"num_malicious_nodes": 2},
        ),
    ],
)
def test_flowers_strategies_agree_with_ours_on_equal_updates(ours, options, flowers, theirs):
    """flwr 1.41: K - f - 2 neighbours, the chosen weighted with their examples."""
    updates = updates_of()
    expected = DEFENSES.build(ours, options).aggregate(updates, None)[0].aggregate

    verdict, state = DEFENSES.build(f"flower:{flowers}", theirs).aggregate(updates, None)

    assert state is None
    assert torch.allclose(verdict.aggregate, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("FedAvg", {}),
        ("FedMedian", {}),
        ("FedTrimmedAvg", {"beta": 0.1}),
        ("Krum", {"num_malicious_nodes": 2}),
        ("MultiKrum", {"num_malicious_nodes": 2, "num_nodes_to_select": 3}),
        ("Bulyan", {"num_malicious_nodes": 2}),
    ],
)
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_a_strategy_owes_what_every_defense_owes(name, options, check):
    check(DEFENSES.build(f"flower:{name}", options))


def test_what_flower_collects_after_every_client_is_not_the_whole_heap():
    """flwr 1.41 collects garbage once an array: what was alive before the round is set aside meanwhile."""
    defense, aside = DEFENSES.build("flower:Bulyan", {"num_malicious_nodes": 2}), []

    def note(phase, info):
        if len(aside) < 6:  # counting takes as long as all that is set aside
            aside.append(gc.get_freeze_count())

    gc.callbacks.append(note)
    try:
        defense.aggregate(updates_of(), None)
    finally:
        gc.callbacks.remove(note)

    assert len(aside) >= 2
    assert min(aside) > 1000
    assert gc.get_freeze_count() == 0


def test_a_cohort_that_bulyan_finds_too_small_moves_nothing():
    """flwr 1.41 asks for 4 f + 3 replies, and otherwise keeps the model."""
    verdict, _ = DEFENSES.build("flower:Bulyan", {"num_malicious_nodes": 3}).aggregate(updates_of(), None)

    assert not bool(verdict.aggregate.any())
    assert verdict.fallback.startswith("Bulyan gives no answer for a cohort of ")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("MultiKrun", {}, "did you mean 'MultiKrum'"),
        ("FedAdam", {}, "does more than aggregate"),
        ("FedProx", {}, "does more than aggregate"),
        ("FedAvg", {"fraction_train": 0.5}, "unknown option 'fraction_train'"),
        ("FedTrimmedAvg", {"beta": 0.7}, "0.5"),
        ("MultiKrum", {"num_malicious_nodes": "two"}, "valid integer"),
    ],
)
def test_what_cannot_be_a_defense_is_refused_in_one_line(name, options, words):
    with pytest.raises(PluginError, match=words) as caught:
        DEFENSES.build(f"flower:{name}", options)

    assert "\n" not in str(caught.value)


class Remembering(FedAvg):
    """A strategy that counts its rounds without a word."""

    def aggregate_train(self, server_round, replies):
        self.rounds = [*getattr(self, "rounds", []), server_round]
        return super().aggregate_train(server_round, replies)


def test_a_strategy_from_outside_that_remembers_is_caught_in_the_act(monkeypatch):
    monkeypatch.setitem(sys.modules, "remembering", sys.modules[__name__])
    defense = DEFENSES.build("flower:remembering:Remembering")

    with pytest.raises(ValueError, match=r"keeps state between rounds.*rounds"):
        defense.aggregate(updates_of(), None)


@pytest.mark.parametrize(
    "wish",
    [
        "from gauntlet.defenses import DEFENSES as d; d.find('flower:Krum')",
        pytest.param("import gauntlet.server.flower", marks=pytest.mark.slow),
    ],
)
def test_without_flower_it_says_what_to_install(wish):
    code = f"import sys; sys.modules['flwr'] = None; {wish}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr.splitlines()[-1].endswith("pip install 'gauntlet-fl[flower]'")


def test_naming_a_defense_of_ours_does_not_load_flower():
    code = (
        "import sys; from gauntlet.defenses import DEFENSES; DEFENSES.build('median'); "
        "print('flwr' in sys.modules, 'gauntlet.server.flower' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["False", "False"]
