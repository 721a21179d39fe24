"""Instance-wise label restoration: the counts that explain the last layer's gradient best.

Source: Ma, Sun, Cui, Li, Guan, Liu. Instance-wise Batch Label Restoration via Gradients in Federated
Learning. ICLR 2023 (BUAA-CST/iLRG). That fractions are rounded by largest remainder is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from .parts.label_rules import least_squares_of
from .parts.labels import refuse_no_bias
from .parts.requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class ILRG:
    """Estimate how many examples of each class stood in a client's step, by least squares.

    Each class's mean feature is the ratio of its gradients, by weight and by bias; what the model predicts of
    it stands for all examples of the class. Scores are the estimated counts, at least 0 and not rounded. For
    any activation. On a model that fits the client's examples already little is left of either gradient, and
    ``bias_counts`` is better.
    """

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def check(self, observation: Observation) -> None:
        refuse_no_bias(observation, "ILRG")

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._counts(o) for o in observations])  # [N, C]

    def _counts(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        return least_squares_of(observation)
