"""What every defense and pre-aggregation owes."""

from typing import Any

import pytest

from gauntlet.defenses import DEFENSES, PRE_AGGREGATIONS, contract

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "mean": [{"weighting": w} for w in ("num_examples", "uniform", "fixed")],
    "median": [{"even": "mean"}, {"even": "lower"}],
    "trimmed_mean": [*({"num_byzantine": f} for f in (0, 2, 9)), {"beta": 0.2}],
    "krum": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 9, "on_infeasible": "median"}],
    "multi_krum": [
        {"num_byzantine": 0},
        {"num_byzantine": 3, "num_selected": 2, "weighting": "num_examples"},
    ],
    "geometric_median": [{}, {"preset": "byzfl"}, {"preset": "mudhog_repo", "weighting": "num_examples"}],
    "bulyan": [{"num_byzantine": 0}, {"num_byzantine": 2}, {"num_byzantine": 2, "selection": "oneshot"}],
    "meamed": [{"num_byzantine": 0}, {"num_byzantine": 3, "even": "lower"}],
    "mda": [{"num_byzantine": f} for f in (0, 3, 5)],
    "monna": [{"num_byzantine": f, "trusted_client": 7} for f in (0, 3)],
    "caf": [{"num_byzantine": f} for f in (0, 3)],
    "centered_clipping": [{}, {"clip_norm": 0.05, "iterations": 3}],
    "norm_clipping": [{}, {"clip_norm": 0.1, "noise_std": 0.01, "weighting": "num_examples"}],
    "mud_hog": [
        {},
        {"preset": "released_code"},
        {"preset": "robust", "warmup_rounds": 0},
        {"preset": "general", "warmup_rounds": 0, "max_clients": 3},
        {"preset": "general", "history_dtype": "float16"},
    ],
    "foolsgold": [{}, {"history": False, "normalise": False}, {"max_clients": 3}],
    "flame": [{}, {"noise_factor": 0.0}, {"input": "rows"}],
    "dnc": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 2, "num_coordinates": 4}],
    "signguard": [{}, {"reference": "cosine"}, {"reference": "distance", "block_share": 1.0}],
    "clipped_clustering": [{}, {"linkage": "complete", "max_norms": 15}],
    "rlr": [{}, {"threshold": 13}, {"threshold": 99, "on_infeasible": "median"}],
    "lasa": [{}, {"sparsity": 0.0}],
    "fldetector": [{}, {"start_round": 0, "window": 2}, {"start_round": 0, "max_clients": 3}],
    "flanders": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 2, "num_coordinates": 3}],
    "parameter_certificate": [{"clip_norm": c, "num_byzantine": 2} for c in (0.1, 9.0)],
    "zeno": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 2, "rho": 0.0, "batch_size": 5}],
    "deepsight": [{"num_inputs": 20}, {"num_inputs": 9, "num_seeds": 1, "min_cluster_size": 4}],
    "alignins": [{}, {"largest_share": 1.0, "sign_tolerance": 2.0}],
    "freqfed": [{}, {"low_share": 1.0, "input": "models"}, {"min_cluster_size": 3}],
    "multi_metrics": [{}, {"kept_share": 1.0}, {"metrics": "pairs"}],
    "rflbat": [{}, {"max_clusters": 1}],
    "sign_majority": [{}, {"magnitude": "constant"}],
    "backdoor_indicator": [{"threshold": 1.0}, {"num_indicators": 9, "start_round": 3}],
    "crfl": [{"votes": 20}, {"votes": 20, "update_clip_norm": 0.1, "num_byzantine": 2, "clip_norm": 0.2}],
    "fedguard": [{"steps": 5, "hidden": 4}, {"steps": 1, "num_drawn": 3, "latent": 1}],
    "smea": [{"num_byzantine": f} for f in (0, 3)],
    "clustering": [{}, {"linkage": "complete"}],
    "residual": [{}, {"threshold": 0.9, "clip": 1.0}],
    "spectral_screen": [{}, {"threshold": 0.5, "unreliable_weight": 0.0}],
    "lora_product": [{}, {"weighting": "uniform"}],
    "mgda": [{"normalize": n, "rescale": r} for n in (False, True) for r in (False, True)],
    "orthogonal": [{}, {"reference": "root", "weighting": "num_examples"}],
    "nnm": [{"num_byzantine": f} for f in (0, 2, 11)],
    "clipping": [{}, {"clip_norm": 0.1}],
    "arc": [{"num_byzantine": f} for f in (0, 2, 11)],
    "bucketing": [{}, {"bucket_size": 1}, {"bucket_size": 5}, {"bucket_size": 40}],
    "gradient_calibration": [{}, {"target_norm": 0.1}, {"scope": "weight"}],
}


def members(family: Any) -> list[Any]:
    return [
        pytest.param(family.build(n, o), id=f"{n}-{o}") for n in family.table for o in OPTIONS.get(n, [{}])
    ]


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("defense", members(DEFENSES))
def test_every_defense_keeps_its_contract(defense, check):
    check(defense)


@pytest.mark.parametrize("check", contract.PRE_AGGREGATION_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("plugin", members(PRE_AGGREGATIONS))
def test_every_pre_aggregation_keeps_its_contract(plugin, check):
    check(plugin)
