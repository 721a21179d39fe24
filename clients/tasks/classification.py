"""One class of several an example: cross-entropy, accuracy, and what becomes of every class."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.contracts import ClassScore, DataFacts, Measured
from ..tracing.losses import LabelForm


@dataclass(frozen=True)
class Classification:
    """A model gives a logit a class [C]; the answer is the class of the largest.

    The loss is the cross-entropy, in nats.
    """

    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    has_accuracy: ClassVar[bool] = True
    by_class: ClassVar[bool] = True

    def outputs(self, facts: DataFacts) -> tuple[int, ...]:
        if not facts.one_class:
            raise ValueError(f"an example must have one class, and {facts.name} has {facts.labels}")
        return (facts.num_classes,)

    def loss(self, name: str, outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels, reduction="none")

    def form(self, name: str) -> LabelForm:
        return LabelForm()

    def answer(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(dim=1)

    def measure(self, answers: Tensor, labels: Tensor, loss: float, facts: DataFacts) -> Measured:
        return measured(answers, labels, facts.num_classes)


def measured(answers: Tensor, labels: Tensor, num_classes: int) -> Measured:
    """Return accuracy and the counts of every class, of answers and labels that are classes.  # [m] both"""
    right = answers == labels
    counts = (
        torch.bincount(some, minlength=num_classes).tolist() for some in (labels, answers, labels[right])
    )
    return Measured(
        accuracy=int(right.sum()) / len(labels),
        classes=tuple(ClassScore(*of_class) for of_class in zip(*counts, strict=True)),
    )
