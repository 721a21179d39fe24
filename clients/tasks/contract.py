"""What every task owes. Each check raises ``PluginError`` and says what is broken."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from ...core.contracts import DataFacts, LossForm, Task
from ...core.declarations import Tasks, declared
from ...core.guards import guard
from ...core.registry import require
from ...core.seeds import generator
from ...core.task_replies import REPLIES
from ...core.untouched import untouched
from ..data.base import Targets
from ..tracing.losses import ExampleForm
from .fitted import FittedTask

_B = 12  # examples
TRIED = (
    DataFacts("ten classes", (4,), (), 10),
    DataFacts("two targets", (4,), (2,), 0, 0, Targets(("first", "second"))),
    DataFacts("sequences", (6,), (6,), 9, 9),
    DataFacts("several labels", (4,), (3,), 2),
    DataFacts("classes of tokens", (6,), (), 3, 9),
)
"""Data on which a task is tried, in this order: the first that it can be learnt from will do."""


def tried(plugin: Task) -> tuple[FittedTask, Tensor, Tensor]:
    """Return a task with the data that it takes, and outputs and labels of some examples."""
    why = []
    task = guard(plugin, "the task", REPLIES)
    for facts in TRIED:
        try:
            plugin.outputs(facts)
        except ValueError as error:
            why.append(f"{facts.name}: {error}")
            continue
        shape = tuple(task.outputs(facts))
        fitted = FittedTask("tried", {}, facts, task, shape)
        stream = generator(0, "task contract")
        outputs = torch.from_numpy(stream.standard_normal((_B, *shape))).float()
        return fitted, outputs, _labels(facts, stream)
    require(False, f"it takes none of the usual data ({'; '.join(why)})")
    raise AssertionError  # not reached


def _labels(facts: DataFacts, stream: np.random.Generator) -> Tensor:
    shape = (_B, *facts.label_shape)
    if facts.num_classes:
        return torch.from_numpy(stream.integers(0, facts.num_classes, shape))
    return torch.from_numpy(stream.standard_normal(shape)).float()


def data_that_it_cannot_be_learnt_from_are_a_value_error(plugin: Task) -> None:
    for facts in TRIED:
        try:
            plugin.outputs(facts)
        except ValueError as error:
            require(bool(str(error)), f"outputs must say why {facts.name} will not do")


def each_loss_is_finite_and_of_one_example_alone(plugin: Task) -> None:
    task, outputs, labels = tried(plugin)
    names = declared(plugin, Tasks.losses)
    require(bool(names) and len(set(names)) == len(names), f"losses must be names, each once, got {names}")
    for name in names:
        whole = task.task.loss(name, outputs, labels)
        require(bool(whole.isfinite().all()), f"loss '{name}' must be finite, got {whole.tolist()}")
        single = torch.cat(
            [task.task.loss(name, o[None], y[None]) for o, y in zip(outputs, labels, strict=True)]
        )
        alike = torch.allclose(whole, single, rtol=1e-5, atol=1e-6)
        require(alike, f"loss '{name}' of an example must not depend on the others")
        gradients = vmap(grad(lambda o, y, name=name: task.task.loss(name, o[None], y[None]).sum()))(
            outputs, labels
        )
        fine = bool(gradients.isfinite().all()) and bool((gradients != 0).any())
        require(fine, f"loss '{name}' must have a finite gradient that is not 0 everywhere")


def a_form_of_its_own_says_the_same_as_the_loss(plugin: Task) -> None:
    task, outputs, labels = tried(plugin)
    weights = torch.linspace(0, 1, _B)
    for name in declared(plugin, Tasks.losses):
        losses = task.task.loss(name, outputs, labels)
        own: LossForm = task.form(name)
        plain = ExampleForm(task.task, name, task.facts.label_shape, task.facts.num_classes > 0)
        for form in (own, plain):
            target = form.targets(labels, weights, task.num_outputs)
            terms, factors = form.parts(outputs, target)
            for what, came, wanted in (
                ("mean", form.mean(outputs, labels), losses.mean()),
                ("total", form.total(outputs, labels), losses.sum()),
                ("parts", (terms * factors).flatten(1).sum(dim=1), losses * weights),
            ):
                alike = torch.allclose(came, wanted, rtol=1e-4, atol=1e-5)
                require(alike, f"{what} of the form of loss '{name}' is not what loss says")
            back, behind = form.labels(outputs[1:], target[1:])
            same = torch.equal(back, labels[1:]) and torch.allclose(behind, weights[1:])
            require(same, f"the form of loss '{name}' must hand back labels and weights as it was given them")


def answers_are_of_one_example_alone_and_always_of_one_kind(plugin: Task) -> None:
    task, outputs, _ = tried(plugin)
    whole = task.task.answer(outputs)
    single = torch.cat([task.task.answer(o[None]) for o in outputs])
    require(torch.equal(whole, single), "the answer of an example must not depend on the others")
    blank = task.blank_answers(_B)
    fits = blank.shape == whole.shape and blank.dtype == whole.dtype
    require(fits, f"answers must always be {blank.dtype} {list(blank.shape)}, got {list(whole.shape)}")


def measures_are_those_that_it_declares(plugin: Task) -> None:
    task, outputs, labels = tried(plugin)
    found = task.measure(task.task.answer(outputs), labels, 1.0)
    has = found.accuracy is not None
    require(
        has == task.has_accuracy,
        f"declared has_accuracy = {task.has_accuracy}, and accuracy is {found.accuracy}",
    )
    require(
        not has or 0 <= float(found.accuracy or 0) <= 1, f"accuracy must be in [0, 1], got {found.accuracy}"
    )
    require(all(map(isfinite, found.metrics.values())), f"metrics must be finite, got {dict(found.metrics)}")
    order = torch.arange(_B).flip(0)
    again = task.measure(task.task.answer(outputs[order]), labels[order], 1.0)
    close = np.allclose(list(found.metrics.values()), list(again.metrics.values()))
    require(close and found.accuracy == again.accuracy, "measures must not depend on the examples' order")


def the_inputs_are_left_as_they_were(plugin: Task) -> None:
    task, outputs, labels = tried(plugin)
    with untouched("the task", outputs, labels):
        for name in declared(plugin, Tasks.losses):
            plugin.loss(name, outputs, labels)
        plugin.measure(plugin.answer(outputs), labels, 1.0, task.facts)


CHECKS: tuple[Callable[[Task], None], ...] = (
    data_that_it_cannot_be_learnt_from_are_a_value_error,
    each_loss_is_finite_and_of_one_example_alone,
    a_form_of_its_own_says_the_same_as_the_loss,
    answers_are_of_one_example_alone_and_always_of_one_kind,
    measures_are_those_that_it_declares,
    the_inputs_are_left_as_they_were,
)
