"""Probes on dropout and on several local steps: what is recorded, what attacks are told, and refusals."""

import json

import pytest

from gauntlet.core.errors import PluginError
from gauntlet.sims.run import simulate

DROPPING = {"name": "mlp", "hidden": [16], "activation": "gelu", "dropout": 0.5}
ONE = {"local_steps": 1, "batch_size": 1, "lr": 0.5}
SEVERAL = {"local_steps": 3, "batch_size": 2, "lr": 0.2, "momentum": 0.5}

PRIVATE = {"name": "dp_sgd", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}
UNIFORM = {"name": "mean", "weighting": "uniform"}


def probe(name, **keys):
    return {"name": name, "client": 2, "labels_known": True, "max_iterations": 3, **keys}


def reports(tiny, folder, probes, **changes):
    """Run a scenario and return what each attack's result says, by its name."""
    simulate(tiny(rounds=1, probes=probes, **changes), folder)
    found = [json.loads(path.read_text()) for path in folder.glob("reconstructions/*/reconstruction.json")]
    return {report["attack"]: report for report in found}


def test_the_oracle_of_dropout_is_one_in_its_results_and_dia_is_none(tiny, tmp_path):
    probes = [probe("dia"), probe("wiig")]

    found = reports(tiny, tmp_path / "run", probes, model=DROPPING, training=ONE)

    assert found["dia"]["oracle"] == []
    assert found["wiig"]["oracle"] == ["dropout_masks"]
    assert found["dia"]["details"]["mask_values"] == 16


@pytest.mark.parametrize(("batch_size", "oracle"), [(0, []), (2, ["batches"])])
def test_who_is_in_a_batch_is_more_than_a_server_can_know(tiny, tmp_path, batch_size, oracle):
    """With momentum, and batches that are part of the client's examples or all of them."""
    training = {**SEVERAL, "batch_size": batch_size}

    found = reports(
        tiny, tmp_path / "run", [probe("unrolled"), probe("sme")], num_clients=400, training=training
    )

    assert (found["unrolled"]["oracle"], found["sme"]["oracle"]) == (oracle, [])
    assert (found["unrolled"]["sok"], found["sme"]["sok"]) == ("C", "C")
    assert 0 <= found["sme"]["details"]["alpha"] <= 1


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "unrolled",
            {"training": {**SEVERAL, "optimizer": "adam", "momentum": 0.0}},
            "optimizer = sgd only, got optimizer = adam",
        ),
        ("unrolled", {"training": SEVERAL, "algorithm": "fedprox"}, "missing here: local_lr"),
        (
            "unrolled",
            {"training": {**SEVERAL, "momentum": 0.0}, "algorithm": "scaffold", "defense": UNIFORM},
            "missing here: local_lr",
        ),
        (
            "unrolled",
            {"training": SEVERAL, "privacy": PRIVATE},
            "missing here: local_lr, batches",
        ),
        (
            "sme",
            {"training": {**SEVERAL, "weight_decay": 0.1}},
            "weight_decay = 0.0 only, got weight_decay = 0.1",
        ),
        ("wiig", {"training": SEVERAL, "model": DROPPING}, "missing here: dropout_masks"),
        ("dia", {"training": SEVERAL, "model": DROPPING}, "local_steps = 1 only, got local_steps = 3"),
    ],
)
def test_what_cannot_be_attacked_is_one_line_before_anybody_trains(tiny, tmp_path, name, changes, words):
    with pytest.raises(PluginError, match=words) as refusal:
        simulate(tiny(rounds=1, probes=[probe(name)], **changes), tmp_path / "run")
    assert "\n" not in str(refusal.value)
