"""Every kind of message that an attack can make nothing of, from the command line.

Exit code 2 and one line, which names what is missing and what would help; a missing truth is no refusal.
"""

import json

import pytest
from attacked_folders import ONE, files, reports

from gauntlet.sims.run import simulate

UNBIASED = """
from torch import nn
def unbiased(num_classes=10):
    layers = nn.Linear(64, 16, bias=False), nn.ReLU(), nn.Linear(16, 10, bias=False)
    return nn.Sequential(nn.Flatten(), *layers)
"""
ANY = {"name": "inverting_gradients", "client": 2, "max_iterations": 1, "labels_known": True}
RELU, TANH = ({"name": "mlp", "hidden": [16], "activation": name} for name in ("relu", "tanh"))
EIGHT = {"local_steps": 1, "batch_size": 8, "lr": 0.5}
SUMS = {"privacy": "secure_sum", "probes": [{"name": "bias_counts"}]}
CASES = {  # what is recorded, the attack, and what its line must say: what is missing, and what would help
    "no bias: bias_trick": ({"model": "unbiased"}, "bias_trick", ["bias", "inverting_gradients"]),
    "no bias: spear": ({"model": "unbiased", "training": EIGHT}, "spear", ["bias", "inverting_gradients"]),
    "no ReLU: spear": ({"model": TANH, "training": EIGHT}, "spear", ["ReLU", "such as dlg"]),
    "rank saturated: spear": (
        {"model": {"name": "mlp", "hidden": [4], "activation": "relu"}, "training": EIGHT},
        "spear",
        ["batch_size = 8", "units (4)", "more units or fewer examples"],
    ),
    "a lossy frame: spear": (
        {"model": RELU, "codec": {"name": "topk", "density": 0.1}},
        "spear",
        ["codec = identity", "inverting_gradients"],
    ),
    "a lossy frame: rgap": (
        {"model": {"name": "mlp", "hidden": [64], "activation": "sigmoid"}, "codec": "terngrad"},
        "rgap",
        ["lose nothing", "inverting_gradients"],
    ),
    "sums alone: dlg": (SUMS, "dlg", ["aggregate", "bias_counts"]),
    "sums alone: spear": (SUMS, "spear", ["aggregate", "bias_counts"]),
    "no plain step: dlg": (
        {
            "training": {**ONE, "optimizer": "adam"},
            "probes": [{"name": "membership", "candidates": "any_class"}],
        },
        "dlg",
        ["optimizer = sgd", "adam"],
    ),
    "several steps: dlg": (
        {"training": {**ONE, "local_steps": 3}, "probes": [{**ANY, "name": "sme"}]},
        "dlg",
        ["local_steps = 1", "local_steps = 3", "sme and unrolled"],
    ),
    "several examples: bias_trick": (
        {"model": RELU, "training": EIGHT},
        "bias_trick",
        ["batch_size = 1", "batch_size = 8", "dlg and inverting_gradients"],
    ),
    "labels of a batch that nobody told: inverting_gradients": (
        {"training": EIGHT, "probes": [{"name": "dlg", "client": 2, "max_iterations": 1}]},
        "inverting_gradients",
        ["labels of 8 examples", "labels_known = true", "labels = 'ilrg'"],
    ),
    "no candidates: lira": ({}, "lira", ["candidates", "candidates = 'same_classes'"]),
    "no auxiliary records: property_inference": (
        {},
        '{name = "property_inference", column = 3}',
        ["auxiliary", "auxiliary = 200"],
    ),
    "no altered examples: altered_examples": (
        {},
        "altered_examples",
        ["client_defense = 'none'", "ats, mixup"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_attack_can_make_nothing_of_is_one_line_that_names_what_would_help(
    case, tiny, tmp_path, gauntlet
):
    changes, attack, words = CASES[case]
    if changes.get("model") == "unbiased":
        (tmp_path / "unbiased.py").write_text(UNBIASED)
        changes = {**changes, "model": f"{tmp_path}/unbiased.py:unbiased"}
    run = simulate(
        tiny(**{"rounds": 1, "training": ONE, "probes": [ANY], **changes}), tmp_path / "run"
    ).folder
    before = files(run)

    line = gauntlet("attack", "run", "--with", attack, "--allow-code").refusal()

    assert not [word for word in words if word not in line], line
    assert files(run) == before


@pytest.fixture
def edited(tiny, tmp_path):
    """Record a message, and return what changes its public values."""
    run = simulate(tiny(rounds=1, training=ONE, probes=[ANY]), tmp_path / "run").folder
    (place,) = (run / "observations").iterdir()

    def change(**values):
        path = place / "observation.json"
        told = json.loads(path.read_text())
        path.write_text(
            json.dumps({**told, **values, "knowledge": {**told["knowledge"], **values.get("knowledge", {})}})
        )
        return place

    return change


def test_a_step_size_that_nobody_told_is_asked_for_by_a_search_for_sizes(edited, gauntlet):
    edited(knowledge={"lr": None})
    line = gauntlet("attack", "run", "--with", "dlg").refusal()
    assert "missing here: lr" in line
    assert "an attack that compares directions needs no step size, such as inverting_gradients" in line
    assert (
        gauntlet("attack", "run", "--with", "inverting_gradients", "--set", "max_iterations=1").returncode
        == 0
    )


def test_a_recording_of_another_schema_is_named(edited, gauntlet):
    edited(schema=99)
    line = gauntlet("attack", "run", "--with", "dlg").refusal()
    assert "is not a readable observation: ValueError: schema 99, expected 1 to 3" in line
    assert "the version that wrote it reads it" in line


def test_without_the_truth_an_attack_runs_and_its_scores_are_not_known(edited, gauntlet, tmp_path):
    place = edited()
    (place / "truth.safetensors").unlink()
    told = gauntlet("attack", "run", "--with", "bias_trick")
    assert told.returncode == 0, told.stderr
    (report,) = reports(tmp_path / "run")
    assert report["psnr"] == [None]
    assert "n/a" in told.stdout
