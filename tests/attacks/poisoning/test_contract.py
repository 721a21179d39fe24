"""What every attack on data and on updates owes."""

from typing import Any

import pytest

from gauntlet.attacks.poisoning import DATA_ATTACKS, UPDATE_ATTACKS, contract
from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.declarations import UpdateAttacks, declared

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "label_flip_all": [{"num_classes": 10}, {"num_classes": 2}, {"num_classes": 3}],
    "pixel_backdoor": [{}, {"pixels": [[-2, -2], [26, 24]], "fraction": 1.0, "value": 0.5}],
    "dba": [{}, {"trigger_size": 1, "trigger_gap": 0, "trigger_location": [3, 5]}],
    "optimized_trigger": [{}, {"budget": 0.5, "steps": 3, "references": 2, "fraction": 1.0}],
    "edge_case": [{}, {"share": 1.0}],
    "a3fl": [{}, {"balance": 0.0, "steps": 3, "fraction": 1.0}],
    "iba": [{"steps": 3}, {"budget": 1.0, "hidden": 1, "steps": 1}],
    "three_d_fed": [{}, {"least_noise": 0.0, "most_noise": 0.0}],
    "semantic_backdoor": [{}, {"source": None, "feature": "leans_left", "share": 1.0}, {"feature": "thin"}],
    "sybil": [{"noise": 0.1}, {"noise": 0.5, "cancels": False}],
    "poisonedfl": [{}, {"period": 1, "scale": 1.0}],
    "agr_tailored": [{"direction": d} for d in ("std", "sign", "unit")],
    "unreliable": [{}, {"kernel_size": 1, "max_noise_std": 0.5, "keep": 1.0, "spoil": 1.0}],
    "sign_flip": [{}, {"scale": 3.0}],
    "alie": [{}, {"z": 1.5}, {"sign": "minus"}],
    "non_finite": [{"value": v} for v in ("nan", "inf", "-inf")],
    "min_max": [{"direction": d} for d in ("std", "sign", "unit")],
    "min_sum": [{"direction": d} for d in ("std", "sign", "unit")],
    "mimic": [{}, {"victim": 27}, {"victim": 4}, {"warmup_rounds": 1}],
    "model_replacement": [{}, {"scale": 10.0}],
    "train_and_scale": [{"norm_bound": 2.0}],
    "evasion": [{"mode": m} for m in ("under", "rotate", "warm_up", "drift")],
    "free_rider": [{"mode": m} for m in ("zero", "previous", "random", "gaussian")],
}


def members(family: Any) -> list[Any]:
    return [
        pytest.param(family.build(n, o), id=f"{n}-{o}") for n in family.table for o in OPTIONS.get(n, [{}])
    ]


@pytest.mark.parametrize("check", contract.DATA_ATTACK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("attack", members(DATA_ATTACKS))
def test_every_data_attack_keeps_its_contract(attack, check):
    check(attack)


@pytest.mark.parametrize("check", contract.UPDATE_ATTACK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("attack", members(UPDATE_ATTACKS))
def test_every_update_attack_keeps_its_contract(attack, check):
    check(attack)


def test_attacks_declare_the_least_knowledge_that_they_need():
    """Robustness spec 3.2: those that use statistics of the honest updates see them, the others do not."""
    own, colluding, omniscient = (
        {n for n in UPDATE_ATTACKS.table if UPDATE_ATTACKS.find(n).knowledge is knowledge}
        for knowledge in UpdateKnowledge
    )
    assert own == {
        "sign_flip",
        "gaussian",
        "additive_noise",
        "non_finite",
        "gradient_ascent",
        "train_and_scale",
        "zero",
        "num_examples_inflation",
        "permutation",
    }
    assert colluding == {
        "model_replacement",
        "constrain_and_scale",
        "neurotoxin",
        "evasion",
        "free_rider",
        "poisonedfl",
        "sybil",
        "three_d_fed",
    }
    assert omniscient == set(UPDATE_ATTACKS.table) - own - colluding
    asking = {
        n for n in UPDATE_ATTACKS.table if declared(UPDATE_ATTACKS.find(n), UpdateAttacks.knows_defense)
    }
    assert asking == {"opt_alie", "opt_ipm", "fang_krum", "agr_tailored"}
