"""GradInversion's rule for labels: the classes whose rows of the last weight hold the least entries.

Source: Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov. See through Gradients: Image Batch Recovery via
GradInversion. CVPR 2021. arXiv:2104.07586
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from .parts.label_rules import by_least_entry
from .parts.labels import last_layer
from .parts.requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class GradInversionLabels:
    """Name the classes of a step whose examples are all of different ones.

    Scores are 1 for as many classes as there are examples, 0 for the others. Features of the last layer must
    not be negative. A class that is there several times counts once, so that batches with more examples than
    classes are mostly missed.
    """

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP

    def check(self, observation: Observation) -> None:
        last_layer(observation, observation.update)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._classes(o) for o in observations])  # [N, C]

    def _classes(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        layer = last_layer(observation, -observation.update.double())
        return by_least_entry(layer.weight, observation.knowledge.batch_size or 1)
