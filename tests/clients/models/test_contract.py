"""What every model owes, and that each check can fail."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from torch import nn

from gauntlet.clients.models import MODELS
from gauntlet.clients.models import contract as owed
from gauntlet.clients.models.contract import CHECKS
from gauntlet.core.errors import PluginError

SLOW = {"resnet18_gn"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODELS.table]
)
def test_every_model(name, check):
    check(MODELS.build(name))


@dataclass(frozen=True)
class Made:
    """Builds what its function says, on 20 features only."""

    make: Callable[[int], object]

    def build(self, input_shape, num_classes):
        if input_shape != (20,):
            raise ValueError("needs 20 features")
        return self.make(num_classes)


class Idle(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear, self.unused = nn.Linear(20, num_classes), nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x)


def drawn_elsewhere(num_classes):
    linear = nn.Linear(20, num_classes)
    nn.init.constant_(linear.bias, np.random.random())  # noqa: NPY002 - the fault
    return linear


@pytest.mark.parametrize(
    ("check", "make", "message"),
    [
        (
            owed.logits_are_finite_one_a_class,
            lambda c: nn.Linear(20, 10),
            r"must give \(3, 2\), got \(3, 10\)",
        ),
        (
            owed.logits_are_finite_one_a_class,
            lambda c: nn.Sequential(nn.Linear(20, c), nn.Threshold(1e9, float("nan"))),
            "logits must be finite",
        ),
        (owed.logits_are_finite_one_a_class, lambda c: "a model", "must return a torch.nn.Module, got str"),
        (owed.every_parameter_learns, Idle, "no finite gradient reaches unused.weight, unused.bias"),
        (owed.every_parameter_learns, lambda c: nn.Identity(), "at least one trainable parameter"),
        (owed.weights_come_from_torchs_generator_alone, drawn_elsewhere, "the same stream"),
    ],
)
def test_a_broken_model_fails_its_check(check, make, message):
    with pytest.raises(PluginError, match=message):
        check(Made(make))


def test_a_model_that_takes_none_of_the_usual_inputs_fails():
    class Never:
        def build(self, input_shape, num_classes):
            raise ValueError("never")

    with pytest.raises(PluginError, match=r"none of the usual inputs \(\[1, 28, 28\]: never; "):
        owed.logits_are_finite_one_a_class(Never())


def test_every_check_passes_on_a_plain_linear_model():
    for check in CHECKS:
        check(Made(lambda c: nn.Linear(20, c)))


def test_a_model_that_asks_for_the_number_of_tokens_is_tried_on_as_many():
    class Words:
        def build(self, input_shape, num_classes, num_tokens):
            assert num_tokens == owed.TOKENS
            if len(input_shape) != 1:
                raise ValueError("needs sequences")
            return nn.Sequential(nn.EmbeddingBag(num_tokens, 4), nn.Linear(4, num_classes))

    for check in CHECKS:
        check(Words())
    _, x = owed.built(Words(), 2)
    assert x.max() == owed.TOKENS - 1


def test_checks_leave_numpys_global_state_as_it_was():
    before = np.random.get_state()[2]  # noqa: NPY002
    owed.weights_come_from_torchs_generator_alone(Made(lambda c: nn.Linear(20, c)))
    assert np.random.get_state()[2] == before  # noqa: NPY002
