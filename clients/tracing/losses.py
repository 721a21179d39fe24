"""How a loss is written: for clients that train one at a time, and for a stack of them.

A traced step is given a tensor of targets, whose last places are an example's weight: 1 over the size of its
batch, or 0 where it only pads. The forms of labels and numbers are those of classification and regression; a
task without a form of its own has one loss an example.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ...core.contracts import Task

Loss = Callable[[Tensor, Tensor], Tensor]
"""From the model's output and the labels, or targets, of a batch to their mean loss."""


@dataclass(frozen=True)
class LabelForm:
    """Cross-entropy of one class an example.

    Targets are minus an example's weight, at its label [..., C], and possibly behind it which labels count
    (1) and whose logits are 0 (0) [..., 2 C].
    """

    @property
    def key(self) -> Hashable:
        return "cross_entropy"

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels)

    def total(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels, reduction="sum")

    def targets(self, labels: Tensor, weights: Tensor, num_outputs: int) -> Tensor:
        found = torch.zeros(*weights.shape, num_outputs, device=weights.device)
        return found.scatter_(-1, labels[..., None], -weights[..., None])

    def parts(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        classes = outputs.shape[-1]
        counted = outputs if target.shape[-1] == classes else outputs * target[..., classes:]
        return torch.log_softmax(counted, dim=-1), target[..., :classes]

    def labels(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        weights = target[..., : outputs.shape[-1]]
        return weights.argmin(dim=-1), -weights.sum(dim=-1)


CROSS_ENTROPY = LabelForm()


@dataclass(frozen=True)
class NumberForm:
    """How far outputs are off, over examples and outputs alike: their squares, or how far they are.

    Targets are an example's numbers, and behind them its weight [..., D + 1].

    Attributes:
        name: ``"mse"`` or ``"mae"``.
    """

    name: str

    @property
    def key(self) -> Hashable:
        return self.name

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if self.name == "mae":
            return nn.functional.l1_loss(outputs, labels)
        return nn.functional.mse_loss(outputs, labels)

    def total(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.mean(outputs, labels) * len(labels)

    def targets(self, labels: Tensor, weights: Tensor, num_outputs: int) -> Tensor:
        return torch.cat([labels, weights[..., None]], dim=-1)

    def parts(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        off = outputs - target[..., :-1]
        terms = off.abs() if self.name == "mae" else off.square()
        return terms, target[..., -1:].expand_as(outputs) / outputs.shape[-1]

    def labels(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return target[..., :-1], target[..., -1]


@dataclass(frozen=True, eq=False)
class ExampleForm:
    """One loss an example, as the task says, times its weight.

    Targets are an example's labels, one after the other, and behind them its weight; whole numbers are
    written as float32, which holds those below 2^24. Possibly behind that is which labels count, likewise.

    Attributes:
        task: The task.
        name: The loss.
        label_shape: Shape of one label.
        whole: Whether labels are whole numbers.
    """

    task: Task
    name: str
    label_shape: tuple[int, ...]
    whole: bool

    @property
    def key(self) -> Hashable:
        plain: Any = getattr(self.task, "__wrapped__", self.task)
        try:
            hash(plain)
        except TypeError:  # not frozen: nobody else's trace is taken for its own
            plain = id(self)
        return "example", plain, self.name, self.label_shape, self.whole

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.task.loss(self.name, outputs, labels).mean()

    def total(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.task.loss(self.name, outputs, labels).sum()

    def targets(self, labels: Tensor, weights: Tensor, num_outputs: int) -> Tensor:
        flat = labels.reshape(*weights.shape, -1).to(torch.float32)
        return torch.cat([flat, weights[..., None]], dim=-1)

    def parts(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        labels, weight = self.labels(outputs, target)
        counted = target[..., prod(self.label_shape) + 1 :]
        loss = self.task.loss(self.name, outputs * counted if counted.shape[-1] else outputs, labels)
        return loss[..., None], weight[..., None]

    def labels(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        size = prod(self.label_shape)
        found = target[..., :size].reshape(*target.shape[:-1], *self.label_shape)
        return found.to(torch.int64) if self.whole else found, target[..., size]
