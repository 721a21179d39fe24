"""A task together with the data that it is learnt from: what the engine asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...core.contracts.tasks import DataFacts
from ...core.declarations import ClientData, Tasks, declared
from ...core.errors import PluginError, ScenarioError, said
from ...core.guards import guard
from ...core.task_replies import REPLIES
from ..tracing.losses import ExampleForm

if TYPE_CHECKING:
    from ...core.contracts import LossForm, Measured, Task


@dataclass(frozen=True, eq=False)
class FittedTask:
    """A task that can be learnt from some data.

    It is pickled by its name, options and facts, so that any process can be sent one.

    Attributes:
        name: As scenarios call it.
        options: Its options.
        facts: Of the data.
        task: The plug-in, behind a guard.
        outputs: The shape of what a model puts out for one example.
    """

    name: str
    options: Mapping[str, Any]
    facts: DataFacts
    task: Task
    outputs: tuple[int, ...]

    def __reduce__(self) -> tuple[Callable[..., FittedTask], tuple[Any, ...]]:
        return fitted, (self.name, dict(self.options), self.facts)

    @property
    def num_outputs(self) -> int:
        """The number that models are told: of logits, or of numbers, of an example or of a position."""
        return self.outputs[-1]

    @property
    def by_class(self) -> bool:
        """Whether labels and answers are classes."""
        return declared(self.task, Tasks.by_class) and self.facts.one_class

    @property
    def gives_logits(self) -> bool:
        """Whether a model puts out a logit a class for each label."""
        return self.facts.num_classes > 0 and self.outputs == (
            *self.facts.label_shape,
            self.facts.num_classes,
        )

    @property
    def has_accuracy(self) -> bool:
        """Whether a share that is right is measured."""
        return declared(self.task, Tasks.has_accuracy)

    @property
    def whole_outputs(self) -> bool:
        """Whether answers are the outputs themselves."""
        return declared(self.task, Tasks.whole_outputs)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it measures besides loss and accuracy, by name."""
        return tuple(declared(self.task, Tasks.metrics))

    def loss_name(self, wanted: str = "auto") -> str:
        """Return the loss that is trained with; ``"auto"`` is the task's first.

        Raises:
            PluginError: The task names none at all.
            ScenarioError: It has no such loss.
        """
        allowed = tuple(declared(self.task, Tasks.losses))
        if not allowed:
            raise PluginError(f"task '{self.name}' declares no losses: at least one name is needed")
        if wanted == "auto":
            return allowed[0]
        if wanted not in allowed:
            raise ScenarioError(
                f"training.loss '{wanted}' does not go with {self.facts.labels}; allowed "
                f"here: auto, {', '.join(allowed)}"
            )
        return wanted

    def form(self, wanted: str = "auto") -> LossForm:
        """Return how a loss is written.

        Raises:
            ScenarioError: The task has no such loss.
        """
        name, own = self.loss_name(wanted), declared(self.task, Tasks.form)
        if own is not None:
            return own(name)
        return ExampleForm(self.task, name, self.facts.label_shape, self.facts.num_classes > 0)

    def blank_answers(self, count: int) -> Tensor:
        """Return room for so many answers.  # [count, ...]"""
        one = self.task.answer(torch.zeros(1, *self.outputs))
        return torch.empty(count, *one.shape[1:], dtype=one.dtype)

    def measure(self, answers: Tensor, labels: Tensor, loss: float) -> Measured:
        """Return how good the answers to the test set are."""
        found = self.task.measure(answers, labels, loss, self.facts)
        if found.metrics.keys() != set(self.metrics):
            raise PluginError(
                f"task '{self.name}': measure must return the metrics that it declares "
                f"({', '.join(self.metrics) or 'none'}), got {', '.join(found.metrics) or 'none'}"
            )
        return found

    def accuracy(self, outputs: Tensor, labels: Tensor, loss: float) -> float | None:
        """Return the share of some examples that is right; None where nothing is right or wrong."""
        targets = self.facts.targets
        apart = targets if targets is None else replace(targets, test_groups=None, group_names=())
        facts = replace(self.facts, targets=apart)
        return self.task.measure(self.task.answer(outputs), labels, loss, facts).accuracy


_known: WeakKeyDictionary[Any, dict[tuple[str | None, str], FittedTask]] = WeakKeyDictionary()


def facts_of(data: Any) -> DataFacts:
    """Return what a task is told of data."""
    targets = declared(data, ClientData.targets)
    shape, own = declared(data, ClientData.input_shape), declared(data, ClientData.label_shape)
    by_kind = () if targets is None else (len(targets.names),)
    return DataFacts(
        name=getattr(data, "name", "these data"),
        input_shape=() if shape is None else tuple(shape),
        label_shape=by_kind if own is None else tuple(own),
        num_classes=declared(data, ClientData.num_classes),
        num_tokens=declared(data, ClientData.num_tokens),
        targets=targets,
    )


def task_of(data: Any, name: str | None = None, options: Mapping[str, Any] | None = None) -> FittedTask:
    """Return the task of data: the one named, or else their own; of the same data the same one.

    Raises:
        PluginError: There is no such task, or it does not take the options.
        ScenarioError: It cannot be learnt from these data.
    """
    known, key = _known.setdefault(data, {}), (name, json.dumps(options or {}, sort_keys=True, default=repr))
    if key not in known:
        facts = facts_of(data)
        default = "classification" if facts.targets is None else "regression"
        wanted = name or declared(data, ClientData.task) or default
        known[key] = fitted(wanted, options or {}, facts)
    return known[key]


def fitted(name: str, options: Mapping[str, Any], facts: DataFacts) -> FittedTask:
    """Return a task for data of which these facts are known.

    Raises:
        PluginError, ScenarioError: See ``task_of``.
    """
    from . import TASKS

    task = guard(TASKS.build(name, options), f"task '{name}'", REPLIES)
    try:
        outputs = tuple(map(int, task.outputs(facts)))
    except PluginError as error:
        if type(error.__cause__) is ValueError:
            why = said(error.__cause__, named=False)
            raise ScenarioError(f"task '{name}' does not go with {facts.name}: {why}") from error
        raise
    return FittedTask(name, options, facts, task, outputs)
