"""Real numbers for an example: how far they are off, output by output."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import DataFacts, Measured, OutputScore
from ..tracing.losses import NumberForm


@dataclass(frozen=True)
class Regression:
    """A model gives a number a target [D], and so many are the answer.

    The loss is the mean of squared (``mse``) or absolute (``mae``) errors over the outputs.
    """

    losses: ClassVar[tuple[str, ...]] = ("mse", "mae")
    whole_outputs: ClassVar[bool] = True

    def outputs(self, facts: DataFacts) -> tuple[int, ...]:
        if facts.targets is None or facts.num_classes:
            raise ValueError(f"the labels must be real-valued targets, and {facts.name} has {facts.labels}")
        return facts.label_shape

    def loss(self, name: str, outputs: Tensor, labels: Tensor) -> Tensor:
        off = outputs - labels
        return (off.abs() if name == "mae" else off.square()).mean(dim=1)

    def form(self, name: str) -> NumberForm:
        return NumberForm(name)

    def answer(self, outputs: Tensor) -> Tensor:
        return outputs.float()

    def measure(self, answers: Tensor, labels: Tensor, loss: float, facts: DataFacts) -> Measured:
        """Return the errors of every output, group by group, in float64."""
        targets = facts.targets
        off = answers.double().clamp(min=targets.least) - labels.double()
        groups = (
            [("", slice(None))]
            if targets.test_groups is None
            else [
                (f"{name}: ", torch.from_numpy(targets.test_groups == number))
                for number, name in enumerate(targets.group_names)
            ]
        )
        outputs = tuple(
            OutputScore(
                prefix + name,
                len(off[rows]),
                float(off[rows, place].square().mean().sqrt()),
                float(off[rows, place].abs().mean()),
            )
            for prefix, rows in groups
            for place, name in enumerate(targets.names)
        )
        return Measured(outputs=outputs)
