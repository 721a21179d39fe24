"""Ordinal regression: classes that stand in an order, of which a near one is better than a far one.

Source: Cheng, Wang, Pollastri. A Neural Network Approach to Ordinal Regression. IJCNN 2008, Section 2 (an
output a threshold, which says whether the class lies above). arXiv:0704.1028
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from gauntlet.core.contracts import Measured


@dataclass(frozen=True)
class Ordinal:
    """A model gives a logit a threshold [C - 1]; the answer is how many of them lie below the class.

    The loss is the sum of the thresholds' binary cross-entropies, in nats. ``ranks_off`` is how many ranks
    the answers are off in the mean, from 0 to C - 1.

    Attributes:
        sure: The probability from which on a class counts as above a threshold, between 0 and 1.
    """

    sure: float = 0.5

    losses: ClassVar[tuple[str, ...]] = ("thresholds",)
    metrics: ClassVar[tuple[str, ...]] = ("ranks_off",)
    has_accuracy: ClassVar[bool] = True
    by_class: ClassVar[bool] = True

    def __post_init__(self):
        if not 0 < self.sure < 1:
            raise ValueError(f"sure must be between 0 and 1, got {self.sure}")

    def outputs(self, facts):
        if not facts.one_class or facts.num_classes < 2:
            raise ValueError(
                f"an example must have one of at least 2 classes, and {facts.name} has {facts.labels}"
            )
        return (facts.num_classes - 1,)

    def loss(self, name, outputs, labels):
        thresholds = torch.arange(outputs.shape[1], device=outputs.device)
        above = (labels[:, None] > thresholds).to(outputs.dtype)  # [B, C - 1]
        return functional.binary_cross_entropy_with_logits(outputs, above, reduction="none").sum(dim=1)

    def answer(self, outputs):
        return (outputs.sigmoid() > self.sure).sum(dim=1)

    def measure(self, answers, labels, loss, facts):
        off = (answers - labels).abs().double()
        return Measured(float((off == 0).double().mean()), {"ranks_off": float(off.mean())})
