"""Label leakage from gradients: as many labels as examples, read off the last layer one after the other.

Source: Wainakh, Ventola, Muessig, Keim, Cordero, Zimmer, Grube, Kersting, Muehlhaeuser. User-Level Label
Leakage from Gradients in Federated Learning. PoPETs 2022, Algorithm 1. arXiv:2105.09369. Reading the bias in
place of the weights is a common variant, and not theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from .parts.label_rules import by_impact
from .parts.labels import last_layer, refuse_no_bias
from .parts.requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class LLG:
    """Take a label where the last layer's gradient is least, and its impact away, until all are taken.

    Scores are whole counts of each class; their sum is the number of examples. Right where the features of
    the last layer are not negative (ReLU, sigmoid); with ``read = "bias"`` they need not be. The step size
    cancels, so that it need not be known; of several local steps, or of a sum over clients, the counts are
    approximations.

    Attributes:
        read: The rows of the last layer's weight, summed ("weights", the paper's), or its bias ("bias").
    """

    read: Literal["weights", "bias"] = "weights"

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def check(self, observation: Observation) -> None:
        if self.read == "bias":
            refuse_no_bias(observation, "LLG with read = 'bias'")
        last_layer(observation, observation.update)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._counts(o) for o in observations])  # [N, C]

    def _counts(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        size = observation.knowledge.batch_size or 1
        layer = last_layer(observation, -observation.update.double())
        if self.read == "weights":
            return by_impact(layer.weight.sum(dim=1), size)
        assert layer.bias is not None, "check saw one"
        return by_impact(layer.bias, size, float(layer.bias.clamp(max=0).sum()) / size)
