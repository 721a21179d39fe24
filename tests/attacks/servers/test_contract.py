"""Every malicious server meets its contract, and every check catches one that breaks it."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.servers import SERVERS, contract
from gauntlet.core.errors import PluginError
from gauntlet.server.assembly.rebuilding import rebuilt

OPTIONS: dict[str, dict[str, object]] = {"personal_notes": {"pretraining": 2, "steps": 3}}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", SERVERS.table)
def test_every_server_keeps_the_contract(name, check):
    check(SERVERS.build(name, OPTIONS.get(name)))


class Silent(nn.Module):
    def forward(self, x):
        return 0 * x


@dataclass(frozen=True)
class Broken:
    """A server with one fault, that doubles parameters and counts rounds otherwise."""

    fault: str = "none"
    deviates: ClassVar[str] = "parameters"

    def rebuild(self, model):
        if self.fault == "other outputs":
            return nn.Sequential(model, nn.Linear(10, 4)), {}
        if self.fault == "other layers":
            return nn.Sequential(model, nn.Linear(10, int(np.random.default_rng().integers(11, 10**6)))), {}
        if self.fault == "rebuilds":
            return nn.Sequential(model), {}
        if self.fault == "silences":
            return nn.Sequential(model, Silent()), {}
        if self.fault == "secret of objects":
            return model, {"model": model}
        return model, {"secret": 1}

    def init(self, secret):
        return 0

    def plant(self, params, state, generator):
        if self.fault == "writes":
            return params.mul_(2), {}, state + 1
        if self.fault == "shortens":
            return params[:-1], {}, state + 1
        if self.fault == "not finite":
            return params / 0, {}, state + 1
        if self.fault == "two values":
            return params, state + 1
        if self.fault == "nothing":
            return params, {}, state + 1
        if self.fault == "draws":
            return params + torch.randn(len(params)), {}, state + 1
        return 2 * params, {"round": state}, state + 1


@pytest.mark.parametrize(
    ("fault", "check", "complaint"),
    [
        ("other outputs", contract.a_rebuilt_model_takes_and_gives_what_the_model_did, r"gave \[3, 4\]"),
        ("other layers", contract.a_model_is_rebuilt_alike_wherever_that_is, "other layers"),
        ("shortens", contract.planted_parameters_are_finite_and_as_many, r"float32 \[2410\], got"),
        ("not finite", contract.planted_parameters_are_finite_and_as_many, "parameters that are finite"),
        ("two values", contract.planted_parameters_are_finite_and_as_many, "three values"),
        ("secret of objects", contract.a_model_is_rebuilt_alike_wherever_that_is, "Sequential"),
        (
            "writes",
            contract.the_servers_own_parameters_are_left_as_they_were,
            "wrote into what it was handed",
        ),
        ("draws", contract.equal_rounds_plant_equal_parameters, "torch's global generator"),
        ("nothing", contract.it_changes_what_it_declares, "and plants none"),
        ("rebuilds", contract.it_changes_what_it_declares, "and rebuilds the model"),
        ("silences", contract.a_client_can_train_on_what_is_planted, "0 everywhere"),
    ],
)
def test_the_check_catches(fault, check, complaint):
    check(Broken())
    with pytest.raises(PluginError, match=complaint):
        check(Broken(fault))


def test_one_that_says_it_is_honest_and_is_not_is_caught():
    class Liar(Broken):
        deviates: ClassVar[str] = "nothing"

    with pytest.raises(PluginError, match="deviates = 'nothing', and plants something"):
        contract.it_changes_what_it_declares(Liar())


def test_one_that_says_it_changes_weights_and_does_not_is_caught():
    class Idle(Broken):
        deviates: ClassVar[str] = "weights"

    with pytest.raises(PluginError, match="deviates = 'weights', and changes none"):
        contract.it_changes_what_it_declares(Idle())


def test_one_that_says_it_changes_weights_and_adds_layers_is_refused():
    class Layers(Broken):
        deviates: ClassVar[str] = "weights"

    data = SimpleNamespace(name="these", input_shape=(1, 8, 8), num_classes=10, mean=(), std=())
    with pytest.raises(PluginError, match="declares deviates = 'weights', and rebuilt the model"):
        rebuilt(Layers("rebuilds"), contract.plain_model(), data, np.random.default_rng(0), (10,))


def test_one_that_says_it_rebuilds_and_does_not_is_caught():
    class Idle(Broken):
        deviates: ClassVar[str] = "model"

    with pytest.raises(PluginError, match="deviates = 'model', and rebuilds none"):
        contract.it_changes_what_it_declares(Idle())
