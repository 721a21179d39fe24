"""Each attack against a defense that it was made against, on real digits: what it costs in accuracy.

The drops were measured once; each test asks for about half of its own, so that an attack that does nothing
fails. Attacks whose harm is exact (ByzMean and others) are held to it in their own tests as well.
"""

from functools import cache
from typing import Any

import pytest

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

ROUNDS = 8


@cache
def honest(defense: str, byzantine: int = 0, alpha: float | None = None) -> float:
    return accuracy(defense, None, byzantine, alpha)


def accuracy(defense: str, role: RoleSpec | None, byzantine: int = 0, alpha: float | None = None) -> float:
    """Twenty clients, IID or Dirichlet: the accuracy after eight rounds."""
    told = {"num_byzantine": byzantine} if defense in ("trimmed_mean", "krum", "multi_krum") else {}
    spec = RunSpec(
        seed=0,
        rounds=ROUNDS,
        num_clients=20,
        data=PluginSpec("digits"),
        partition=PluginSpec("dirichlet", {"alpha": alpha}) if alpha else PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [32]}),
        training=LocalTraining(local_epochs=2, batch_size=16, lr=0.2),
        defense=PluginSpec(defense, told),
        roles=(role,) if role else (),
        evaluate_every=ROUNDS,
    )
    run = prepare(spec)
    *_, last = run.steps(run.serial_pool())
    assert last.score is not None
    return last.score.accuracy


BITES: list[tuple[str, dict[str, Any], str, int, float]] = [
    ("sign_flip", {"scale": 5.0}, "mean", 4, 0.4),
    ("gradient_ascent", {}, "mean", 4, 0.4),
    ("byz_mean", {"z": 2.0}, "mean", 4, 0.3),
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
    role = RoleSpec(PluginSpec(attack, options), count=attackers)
    assert honest(defense, attackers) > 0.8
    assert accuracy(defense, role, attackers) < honest(defense, attackers) - drop


def test_mimics_take_the_median_apart_where_clients_differ():
    role = RoleSpec(PluginSpec("mimic"), count=6)
    assert accuracy("median", role, alpha=0.1) < honest("median", alpha=0.1) - 0.05


@pytest.mark.parametrize("update", [PluginSpec("model_replacement"), PluginSpec("num_examples_inflation")])
def test_one_client_with_wrong_labels_is_harmless_until_its_update_is_boosted(update):
    """Against the mean weighted by examples: the boost is what replaces the model."""
    flip = PluginSpec("label_flip_all", {"num_classes": 10})
    alone, boosted = (RoleSpec(flip, clients=(0,), update=u) for u in (None, update))
    assert accuracy("mean", alone) > 0.8
    assert accuracy("mean", boosted) < 0.4
