"""What every task owes, and that each check can fail."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from gauntlet.clients.tasks import TASKS
from gauntlet.clients.tasks.contract import CHECKS
from gauntlet.clients.tracing.losses import LabelForm
from gauntlet.core.contracts import Measured
from gauntlet.core.errors import PluginError


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", TASKS.table)
def test_every_task_keeps_every_promise(name, check):
    check(TASKS.build(name))


@dataclass(frozen=True)
class Halved:
    """A form that says half of every loss, except where labels are handed back."""

    def __getattr__(self, name):
        return getattr(LabelForm(), name)

    def mean(self, outputs, labels):
        return LabelForm().mean(outputs, labels) / 2


@dataclass(frozen=True)
class Broken:
    """A classification that breaks one promise at a time."""

    how: str = ""
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    has_accuracy: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("error",)

    def outputs(self, facts):
        if not facts.one_class:
            raise (ValueError() if self.how == "data_that" else ValueError("one class, please"))
        return (facts.num_classes,)

    def loss(self, name, outputs, labels):
        if self.how == "each_loss":
            outputs = outputs - outputs.mean(dim=0)
        if self.how == "the_inputs":
            outputs -= 1
        return nn.functional.cross_entropy(outputs, labels, reduction="none")

    def form(self, name):
        return Halved() if self.how == "a_form" else LabelForm()

    def answer(self, outputs):
        return (outputs - outputs.mean(dim=0) if self.how == "answers" else outputs).argmax(dim=1)

    def measure(self, answers, labels, loss, facts):
        share = float((answers == labels).double().mean())
        return Measured(share, {} if self.how == "measures" else {"error": 1 - share})


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_a_task_that_breaks_a_promise_is_caught(check):
    check(Broken())
    how = next(
        how
        for how in ("data_that", "each_loss", "a_form", "answers", "measures", "the_inputs")
        if check.__name__.startswith(how)
    )
    with pytest.raises(PluginError):
        check(replace(Broken(), how=how))


@pytest.mark.parametrize(
    ("verb", "came", "words"),
    [
        ("outputs", (), "the shape of one example's outputs"),
        ("outputs", (3, 0), "each above 0"),
        ("loss", torch.zeros(()), "one loss for each of 12 examples"),
        ("loss", torch.zeros(12, dtype=torch.int64), "as floats"),
        ("answer", torch.zeros(12, dtype=torch.bool), "int64 or float32"),
        ("answer", torch.zeros(3), "an answer for each"),
        ("measure", {"accuracy": 1.0}, "a Measured"),
        ("measure", Measured(accuracy="high"), "accuracy as a number"),
        ("measure", Measured(metrics={"error": None}), "metrics as numbers"),
    ],
)
def test_what_a_task_hands_back_amiss_is_named(verb, came, words):
    plugin = type("Amiss", (Broken,), {verb: lambda self, *args: came})()
    with pytest.raises(PluginError, match=words):
        _all_checks(plugin)


def _all_checks(plugin):
    for check in CHECKS:
        check(plugin)
