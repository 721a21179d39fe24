"""Each attack against a defense that it was made against, on real digits: what it costs in accuracy.

The drops were measured once; each test asks for about half of its own, so that an attack that does nothing
fails. Attacks whose harm is exact (ByzMean, model replacement, inflated counts) are held to it in their own tests.
"""

from functools import cache
from typing import Any

import pytest

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

ROUNDS = 8


@cache
def accuracy(defense: str, num_byzantine: int = 0, attack: str = "", *options: tuple[str, Any]) -> float:
    """Twenty clients, the last accuracy of eight rounds; ``num_byzantine`` of them attack if any does."""
    told = {"num_byzantine": num_byzantine} if defense in ("trimmed_mean", "krum", "multi_krum") else {}
    spec = RunSpec(
        seed=0,
        rounds=ROUNDS,
        num_clients=20,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [32]}),
        training=LocalTraining(local_epochs=2, batch_size=16, lr=0.2),
        defense=PluginSpec(defense, told),
        roles=(RoleSpec(PluginSpec(attack, dict(options)), count=num_byzantine),) if attack else (),
        evaluate_every=ROUNDS,
    )
    run = prepare(spec)
    *_, last = run.steps(run.serial_pool())
    assert last.score is not None
    return last.score.accuracy


BITES: list[tuple[str, dict[str, Any], str, int, float]] = [
    ("alie", {"z": -1.5}, "median", 8, 0.08),
    ("opt_alie", {"delta": -10.0}, "trimmed_mean", 8, 0.08),
    ("ipm", {}, "krum", 8, 0.4),
    ("opt_ipm", {}, "krum", 8, 0.4),
    ("opt_ipm", {}, "trimmed_mean", 8, 0.17),
    ("min_max", {}, "trimmed_mean", 8, 0.08),
    ("min_max", {}, "krum", 8, 0.11),
    ("min_sum", {}, "multi_krum", 8, 0.03),
    ("fang_trim", {}, "trimmed_mean", 8, 0.17),
    ("fang_krum", {}, "krum", 8, 0.4),
]


@pytest.mark.parametrize(("attack", "options", "defense", "attackers", "drop"), BITES)
def test_the_defense_loses_accuracy_to_the_attack(attack, options, defense, attackers, drop):
    honest = accuracy(defense, attackers)
    assert honest > 0.8
    assert accuracy(defense, attackers, attack, *options.items()) < honest - drop
