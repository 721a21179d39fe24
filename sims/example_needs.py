"""What the examples of plug-ins need besides defaults: own options, and other keys of the scenario."""

from collections.abc import Mapping
from typing import Any

_ALIKE = {"defense": {"name": "mean", "weighting": "uniform"}}
_PICTURES = {"data": "mnist"}
_SERIES = {
    "data": "mobility",
    "num_clients": 65,
    "partition": "natural",
    "task": "regression",
    "training": {"optimizer": "adam", "local_steps": 1, "batch_size": 8, "lr": 0.003},
}
_TEXT = {
    "data": "tiny_shakespeare",
    "num_clients": 99,
    "partition": "natural",
    "sampler": {"name": "fixed_size", "cohort_size": 4},
    "model": "tiny_gpt",
    "task": "language_model",
}
_SENTENCES = {
    "data": "cola",
    "num_clients": 10,
    "sampler": {"name": "fixed_size", "cohort_size": 2},
    "model": {"name": "tiny_bert", "width": 32, "inner": 64},
    "training": {"local_steps": 5, "batch_size": 16, "lr": 0.1},
}
_PEOPLE_SAY = {
    "data": {"name": "people", "people": 20},
    "num_clients": 20,
    "partition": "natural",
    "model": {"name": "tiny_gpt", "width": 32, "blocks": 1},
    "task": "language_model",
}
_WLS = {"data": "wls", "task": "regression", "model": "linear"}
_ONE = {"training": {"local_steps": 1, "batch_size": 1, "lr": 0.1}}
_SHORT = {"max_iterations": 50}
_TOLD = {"probe": {"labels_known": True}}
_SMOOTH = {"model": {"name": "mlp", "hidden": [32], "activation": "tanh"}}
_RELU = {"model": {"name": "mlp", "hidden": [200]}}
_DEEP = {"model": {"name": "mlp", "hidden": [32, 32, 32]}}
_RESIDUAL = {"model": {"name": "residual_mlp", "keep_last": 0.5}}
_TWO = {"num_byzantine": 2}
_FIXED = {"name": "fixed_size", "cohort_size": 5}
_SLOW = {"network": {"name": "links", "latency_seconds": 1.0, "jitter": 1.0}}
_NAMES = ("age", "income", "smoker")
_ROWS = [(20 + 7 * n % 60, 900 + 13 * n % 400) for n in range(40)]
_PEOPLE = "".join(f"{age},{income},{'yes' if age > 45 else 'no'}\n" for age, income in _ROWS)
_PICTURES_FILE = """import numpy as np

draw = np.random.default_rng(0)
y = draw.integers(0, 2, 200)
np.savez("pictures.npz", x=draw.normal(y[:, None, None, None], 1, (200, 1, 16, 16)), y=y)
"""
_LEAF_FILE = """import json
import random
from pathlib import Path

draw = random.Random(0)
people = {
    f"writer{n}": {
        "x": [[round(draw.random(), 2) for _ in range(784)] for _ in range(10)],
        "y": [draw.randrange(62) for _ in range(10)],
    }
    for n in range(10)
}
Path("leaf/train").mkdir(parents=True, exist_ok=True)
whole = {"users": list(people), "num_samples": [10] * 10, "user_data": people}
Path("leaf/train/all.json").write_text(json.dumps(whole))
"""
_NORMS = """from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        convolution = nn.Conv2d(1, 8, 3, padding=1)
        super().__init__(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
"""
_PRIVATE = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}

NEEDS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "datasets/tiny_shakespeare": {"beside": _TEXT},
    **{f"datasets/{name}": {"beside": _SENTENCES} for name in ("cola", "sst2", "rotten_tomatoes")},
    "datasets/csv": {
        "options": {"path": "people.csv", "label": "smoker"},
        "files": {"people.csv": f"{','.join(_NAMES)}\n{_PEOPLE}"},
    },
    "datasets/npz": {
        "options": {"path": "pictures.npz"},
        "files": {"pictures.py": _PICTURES_FILE},
    },
    "datasets/leaf": {
        "options": {"path": "leaf"},
        "beside": {"partition": "natural"},
        "files": {"pictures.py": _LEAF_FILE},
    },
    "datasets/people": {"options": {"people": 20}, "beside": _PEOPLE_SAY},
    "datasets/wls": {"beside": _WLS},
    "partitions/natural": {"beside": {"data": "heart_disease", "num_clients": 4}},
    "models/cnn_mudhog_fashion": {"beside": _PICTURES},
    "models/mcnn": {"beside": _PICTURES},
    "models/resnet18_gn": {
        "beside": {"data": {"name": "npz", "path": "pictures.npz"}, "num_clients": 4},
        "files": {"pictures.py": _PICTURES_FILE},
    },
    **{f"models/{name}": {"beside": _SERIES} for name in ("lstm", "gru", "bilstm", "bigru")},
    "models/tiny_gpt": {"beside": _TEXT},
    "models/tiny_bert": {"beside": _SENTENCES},
    "data_attacks/chameleon": {"beside": {"model": {"name": "mlp", "hidden": [32]}}},
    **{
        f"algorithms/{name}": {"beside": _ALIKE}
        for name in ("scaffold", "feddyn", "heterofl", "uncertainty_merge", "unlearn", "gm_split")
    },
    "algorithms/nested_depth": {"beside": _DEEP | _ALIKE},
    "defenses/inco": {"beside": _DEEP | {"algorithm": {"name": "nested_depth", "depths": [0.5, 1.0]}}},
    **{f"algorithms/{name}": {"beside": _SMOOTH} for name in ("tpsgd", "dfa", "local_guess")},
    "algorithms/randomized_backward": {"beside": _RELU},
    "algorithms/stochastic_depth": {"beside": _RESIDUAL | _ALIKE},
    "algorithms/noprop": {"beside": {"model": "noprop"}},
    "algorithms/fedskel": {"options": {"keep_ratios": [1.0, 0.5]}, "beside": _RELU | _ALIKE},
    "algorithms/fsgld": {"options": {"surrogate_steps": 100, "surrogate_burn_in": 100}, "beside": _ALIKE},
    "algorithms/admm": {"beside": _WLS | {"model": {"name": "linear", "bias": False}} | _ALIKE},
    "algorithms/fzoos": {
        "options": {"local_steps": 2, "candidates": 10, "look_candidates": 10, "look_active": 5}
    },
    "algorithms/fedper": {"beside": _RELU},
    "algorithms/fedbn": {"beside": {"model": "norms.py:Net"}, "files": {"norms.py": _NORMS}},
    **{f"algorithms/{name}": {"beside": _RELU} for name in ("moon", "label_correction")},
    "client_defenses/frozen_layers": {"beside": _RELU},
    "tasks/regression": {"beside": _SERIES | {"model": "gru"}},
    "tasks/language_model": {"beside": _TEXT},
    "data_attacks/label_flip_all": {"options": {"num_classes": 10}},
    "data_attacks/dba": {"options": {"trigger_size": 2}},
    "update_attacks/train_and_scale": {"options": {"norm_bound": 1.0}},
    "leakage_attacks/dlg": {"options": _SHORT, "beside": _SMOOTH},
    "leakage_attacks/idlg": {"beside": _SMOOTH | _ONE},
    **{
        f"leakage_attacks/{name}": {"options": _SHORT, "beside": _RELU | _TOLD}
        for name in ("inverting_gradients", "dia", "wiig", "unrolled", "summed_rounds", "sme", "bayes")
    },
    "leakage_attacks/altered_examples": {"beside": _SMOOTH | _ONE | {"client_defense": "ats"}},
    "leakage_attacks/gradinversion": {
        "options": _SHORT,
        "beside": _TOLD | {"model": "norms.py:Net"},
        "files": {"norms.py": _NORMS},
    },
    "leakage_attacks/bias_trick": {"beside": _RELU | _ONE},
    "leakage_attacks/spear": {"beside": _RELU},
    "leakage_attacks/rgap": {"beside": _SMOOTH | _ONE},
    "leakage_attacks/embedding_rows": {"beside": _TEXT | _ONE},
    "leakage_attacks/dager": {"beside": _TEXT | _ONE},
    "leakage_attacks/film": {
        "options": {"max_iterations": 5},
        "beside": _TEXT | _ONE | {"probe": {"auxiliary": 100}},
    },
    "leakage_attacks/lamp": {"options": _SHORT, "beside": _TEXT | _ONE | {"probe": {"auxiliary": 100}}},
    "leakage_attacks/tag": {"options": _SHORT, "beside": _TEXT | _ONE},
    "leakage_attacks/tiger": {"options": _SHORT, "beside": _TEXT | _ONE},
    "leakage_attacks/recit_style": {"beside": _TEXT | _ONE},
    "leakage_attacks/imprint_bins": {
        "beside": _RELU | {"server": {"name": "imprint", "bins": 64, "mean": 0.305, "std": 0.042}}
    },
    "leakage_attacks/trap_rows": {"beside": _RELU | {"server": "trap_weights"}},
    "servers/personal_notes": {"options": {"pretraining": 5, "steps": 5}, "beside": _PEOPLE_SAY},
    "servers/trap_weights": {"beside": _RELU},
    "inference_attacks/backward_lens": {"beside": _TEXT | _ONE},
    "inference_attacks/lira": {"beside": {"probe": {"candidates": "same_classes", "auxiliary": 100}}},
    "inference_attacks/membership": {"beside": {"probe": {"candidates": "same_classes"}}},
    "inference_attacks/row_membership": {"beside": _TEXT | {"probe": {"candidates": "any_class"}}},
    "inference_attacks/property_inference": {
        "options": {"column": 20},
        "beside": {"probe": {"auxiliary": 100}},
    },
    **{
        f"defenses/{name}": {"options": _TWO}
        for name in ("trimmed_mean", "krum", "multi_krum", "meamed", "mda", "monna", "caf", "dnc", "flanders")
    },
    "defenses/smea": {"options": _TWO},
    "defenses/backdoor_indicator": {"beside": {"root_examples": 50}},
    "defenses/fedguard": {"beside": {"root_examples": 50}},
    "defenses/crfl": {"options": {"clip_norm": 15.0, "votes": 100}},
    "defenses/bulyan": {"options": {"num_byzantine": 1}},
    "defenses/client_influence": {"beside": {"root_examples": 50}},
    "defenses/zeno": {"options": _TWO, "beside": {"root_examples": 50}},
    "defenses/fltrust": {"beside": {"root_examples": 50}},
    "defenses/parameter_certificate": {"options": {"clip_norm": 1.0, **_TWO}},
    "pre_aggregations/nnm": {"options": _TWO},
    "pre_aggregations/arc": {"options": _TWO},
    **{
        f"privacy/{name}": {"options": _PRIVATE}
        for name in ("gaussian", "local_gaussian", "laplace", "tree", "dp_sgd")
    },
    "privacy/banded_mf": {
        "options": _PRIVATE | {"bands": 2},
        "beside": {"sampler": {"name": "round_robin", "period": 2}},
    },
    "privacy/discrete_gaussian": {"options": _PRIVATE, "beside": {"sampler": _FIXED}},
    "privacy/skellam": {"options": _PRIVATE, "beside": {"sampler": _FIXED}},
    "privacy/input_gaussian": {
        "options": {"delta": 1e-3, "noise_std": 1.0},
        "beside": _SERIES | {"model": "gru", "sampler": "full"},
    },
    "privacy/diff2": {
        "options": {"epsilon": 2.0, "delta": 1e-3},
        "beside": {"algorithm": "diff2_gd", "sampler": "full"},
    },
    "schedules/deadline": {"options": {"seconds": 2.0}, "beside": _SLOW},
    "schedules/over_select": {"options": {"goal": 6}, "beside": _SLOW},
    "schedules/fedasync": {"options": {"concurrency": 5}, "beside": _SLOW},
    "schedules/quorum": {"beside": _SLOW},
    "schedules/bursty": {"beside": _SLOW},
    "networks/script": {"options": {"seconds": [[1.0, 2.5, 0.5], [2.0, 1.0, 1.5]]}},
    "samplers/fixed_size": {"options": {"cohort_size": 5}},
    "samplers/poisson": {"options": {"sample_rate": 0.5}},
    "samplers/round_robin": {"options": {"period": 2}},
}
