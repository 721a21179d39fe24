"""Probes whose attack cannot work are refused before anybody trains."""

import pytest

from gauntlet.core.errors import PluginError
from gauntlet.sims.run import simulate
from gauntlet.sims.sweep import sweep

MODELS = """
import torch
from torch import nn

def conv_first(input_shape, num_classes):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, num_classes))

def no_bias(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Sigmoid(), nn.Linear(4, num_classes, bias=False))

class Heat(nn.Module):
    def __init__(self):
        super().__init__()
        self.heat = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return x * self.heat

def scaled(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes), Heat())

class Tokens(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.words = nn.Embedding(17, 4)
        self.head = nn.Linear(4, num_classes)
    def forward(self, x):
        return self.head(self.words((x.flatten(1) * 16).long()).mean(dim=1))

def tokens(input_shape, num_classes):
    return Tokens(num_classes)

class Opaque(nn.Module):
    # torch's fused attention on a CPU has no second derivative
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.head = nn.Linear(8, 8), nn.Linear(64, num_classes)
    def forward(self, x):
        rows = self.first(x)
        return self.head(nn.functional.scaled_dot_product_attention(rows, rows, rows).flatten(1))

def opaque(input_shape, num_classes):
    return Opaque(num_classes)
"""

RULE = """
class Signed:
    def schedule(self, training):
        return training
    def correct(self, gradient, params, received):
        return gradient.sign()
"""

CHOOSY = """
class Choosy:
    requires = {"batch_size": "exact"}
    assumes = {"codec": "identity"}
    def reconstruct(self, observation, generator):
        raise AssertionError("never asked")
"""

ONE = {"local_steps": 1, "batch_size": 1, "lr": 0.5}

REFUSED = {
    "a first layer that is not linear": (
        "bias_trick",
        {"model": "conv_first", "training": ONE},
        "starts with Conv2d",
    ),
    "no bias to read labels from": ("bias_counts", {"model": "no_bias"}, "the model's last layer has none"),
    "no last layer to read a label from": (
        "idlg",
        {"model": "scaled", "training": ONE},
        "labels are read from a last linear layer .* or tell them, with labels_known = true",
    ),
    "inputs that are tokens": ("dlg", {"model": "tokens"}, "can be differentiated twice"),
    "no second derivative": (
        "idlg",
        {"model": "opaque", "training": ONE, "vectorize": "off"},
        "can be differentiated twice",
    ),
    "Adam, and the bias trick": (
        "bias_trick",
        {"training": {**ONE, "optimizer": "adam", "lr": 0.01}},
        "BiasTrick works with optimizer = sgd only, got optimizer = adam",
    ),
    "Adam": (
        "dlg",
        {"training": {**ONE, "optimizer": "adam", "lr": 0.01}},
        "optimizer = sgd only, got optimizer = adam",
    ),
    "weight decay": (
        "bias_counts",
        {"training": {**ONE, "weight_decay": 0.1}},
        "weight_decay = 0.0 only, got weight_decay = 0.1",
    ),
    "an algorithm that changes the direction": (
        "bias_trick",
        {"algorithm": "Signed", "training": ONE},
        "got optimizer = ",
    ),
    "another codec than the attack allows": (
        "Choosy",
        {"codec": "terngrad"},
        "codec = identity only, got codec = terngrad",
    ),
    "too many examples": ("idlg", {}, "batch_size = 1 and local_steps = 1 only, got batch_size = 2"),
    "labels that nobody uses": (
        {"name": "bias_counts", "labels_known": True},
        {},
        "BiasCounts does not use them",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_attack_that_cannot_work_is_refused_before_anybody_trains(tiny, tmp_path, case):
    attack, changes, complaint = REFUSED[case]
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "rule.py").write_text(RULE)
    (tmp_path / "choosy.py").write_text(CHOOSY)
    probe = {"name": attack} if isinstance(attack, str) else dict(attack)
    if probe["name"] == "Choosy":
        probe["name"] = f"{tmp_path}/choosy.py:Choosy"
    changes = dict(changes)
    if "model" in changes:
        changes["model"] = f"{tmp_path}/models.py:{changes['model']}"
    if "algorithm" in changes:
        changes["algorithm"] = f"{tmp_path}/rule.py:Signed"

    with pytest.raises(PluginError, match=complaint) as caught:
        simulate(tiny(**changes, probes=[probe]), tmp_path / "run")

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_sweep_with_one_probe_that_cannot_work_begins_nothing(tiny, tmp_path):
    """The second variant's probe is refused before the first one trains."""
    swept = tiny(probes=[{"name": "dlg", "max_iterations": 1}], sweep={"training.weight_decay": [0.0, 0.1]})

    with pytest.raises(PluginError, match=r"DLG works with weight_decay = 0.0 only, got weight_decay = 0.1"):
        sweep(swept, tmp_path / "sweep")

    assert not (tmp_path / "sweep").exists()


def test_an_algorithm_whose_first_step_is_the_gradient_is_no_obstacle(tiny, tmp_path):
    """FedProx pulls towards the received model: by nothing in the first step."""
    prox = tiny(
        algorithm={"name": "fedprox", "mu": 1.0}, training=ONE, probes=[{"name": "bias_trick", "client": 1}]
    )

    (item,) = simulate(prox, tmp_path / "run").gallery()

    assert item.psnr.min() > 90
