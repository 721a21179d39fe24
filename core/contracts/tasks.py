"""What is learnt: what a task is told of the data, and what it owes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class DataFacts:
    """The public facts about data by which a task tells whether it can be learnt from them, and how.

    Attributes:
        name: As scenarios call the data.
        input_shape: Shape of one input, without the batch.
        label_shape: Shape of one label: () of a class, [S] of a sequence of tokens, [D] of D numbers.
        num_classes: C: labels are whole numbers, int64, below it; 0 where they are real numbers, float32.
        num_tokens: Inputs are tokens, int64, below it; 0 where they are floats.
        targets: The ``Targets`` of data with real-valued labels, or None.
    """

    name: str
    input_shape: tuple[int, ...]
    label_shape: tuple[int, ...] = ()
    num_classes: int = 0
    num_tokens: int = 0
    targets: Any = None

    @property
    def one_class(self) -> bool:
        """Whether a label is one class."""
        return self.num_classes > 0 and self.label_shape == ()

    @property
    def labels(self) -> str:
        """What labels are, for messages."""
        if not self.num_classes:
            return "real-valued targets"
        return "labels" if self.one_class else f"labels of shape {list(self.label_shape)}"


@dataclass(frozen=True)
class ClassScore:
    """One class of the test set, in examples: those of it, those taken for it, and those of both."""

    examples: int
    predicted: int
    right: int


@dataclass(frozen=True)
class OutputScore:
    """How far one output of a regression is off on the test set, in its own unit; NaN where it diverged.

    Attributes:
        output: Its name, and before it that of the group of test examples, where there are groups.
        examples: Test examples.
        rmse: Root of the mean squared error.
        mae: Mean absolute error.
    """

    output: str
    examples: int
    rmse: float
    mae: float


@dataclass(frozen=True)
class Measured:
    """What a task measures on some examples, besides the loss.

    Attributes:
        accuracy: The share that is right, between 0 and 1; None where nothing is right or wrong.
        metrics: Every other measure by its name, of those that the task declares in ``metrics``.
        classes: Every class, from 0; empty where labels are no classes.
        outputs: Every output of a regression, group by group.
    """

    accuracy: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    classes: tuple[ClassScore, ...] = ()
    outputs: tuple[OutputScore, ...] = ()


class LossForm(Protocol):
    """How a loss is written for clients that train one at a time, and for a stack of them."""

    @property
    def key(self) -> Hashable:
        """What tells it from other forms: two of one key are traced alike."""

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch.  # []"""

    def total(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of a batch's losses.  # []"""

    def targets(self, labels: Tensor, weights: Tensor, num_outputs: int) -> Tensor:
        """Return what a traced step is given of labels [..., *label] and weights [...].  # [..., T]"""

    def parts(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return terms and factors: an example's loss times its weight is their product's sum.

        Args:
            outputs: What the model makes of some examples.  # [B, ...]
            target: Their ``targets``.  # [B, T]
        """

    def labels(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels [B, ...] and weights [B] that ``targets`` was given."""


class Task(Protocol):
    """What is learnt: what a model puts out for an example, what is minimised, and what is measured.

    The data set names its task, and a scenario may name another. All of it works on whole batches, and an
    example's loss and answer depend on that example alone.

    What it may declare: ``core.declarations.Tasks``.
    """

    losses: tuple[str, ...]
    """The names of its losses, which ``training.loss`` may name; the first is the default."""

    def outputs(self, facts: DataFacts) -> tuple[int, ...]:
        """Return the shape of what a model puts out for one example; models are told its last number.

        Raises:
            ValueError: It cannot be learnt from these data: why not.
        """

    def loss(self, name: str, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each example, by the loss's name.  # [B]

        Args:
            name: One of ``losses``.
            outputs: What the model makes of them, in float32 or float64.  # [B, *outputs]
            labels: Their labels.  # [B, *label_shape]
        """

    def answer(self, outputs: Tensor) -> Tensor:
        """Return what is kept of each example's outputs [B, ...], to be measured: a class, say.  # [B]"""

    def measure(self, answers: Tensor, labels: Tensor, loss: float, facts: DataFacts) -> Measured:
        """Return how good some answers are.

        Args:
            answers: What ``answer`` kept of a model's outputs, at least 1.  # [m, ...]
            labels: The examples' labels.  # [m, *label_shape]
            loss: The mean of their losses.
            facts: Of the data that the model was trained on.
        """
