"""LLG with the model at hand: the impact of an example is what the model says of random inputs.

Source: Wainakh et al. User-Level Label Leakage from Gradients in Federated Learning. PoPETs 2022
(LLG*). arXiv:2105.09369. They pass inputs labelled with one class at a time; the gradients of all classes
follow from one pass, since the label changes no feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from ...core.seeds import generator as stream_of
from .parts.features import seen_by_last_layer
from .parts.label_rules import by_impact
from .parts.labels import last_layer
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.starts import Init, dummy_inputs, refuse_boundless


@dataclass(frozen=True)
class LLGWhitebox:
    """Take labels as ``LLG`` does, by an impact and offsets that random inputs have on the broadcast model.

    Better than ``LLG`` on a model that has hardly been trained, and worse on a trained one, to which random
    inputs are unlike its data. Of several local steps, or of a sum over clients, the counts are
    approximations.

    Attributes:
        init: Where random inputs are drawn: over the range of values ("uniform") or N(0, 1) ("normal").
        num_dummies: How many are drawn, at least 1.
        seed: Seed of their stream.
    """

    init: Init = "uniform"
    num_dummies: int = 3000
    seed: int = 0

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def __post_init__(self) -> None:
        if self.num_dummies < 1:
            raise ValueError(f"num_dummies must be at least 1, got {self.num_dummies}")

    def check(self, observation: Observation) -> None:
        last_layer(observation, observation.update)
        refuse_boundless(observation.value_range, self.init)
        self._answers(observation, 1)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._counts(o) for o in observations])  # [N, C]

    def _counts(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        known = observation.knowledge
        size, steps = known.batch_size or 1, (known.lr or 1.0) * (known.local_steps or 1)
        mean = -observation.update.double() / (steps * observation.weight)  # a step's gradient  # [P]
        own, others = self._answers(observation, self.num_dummies)
        impact = float(own.mean()) * (1 + 1 / len(own)) / size
        return by_impact(last_layer(observation, mean).weight.sum(dim=1), size, impact, others)

    def _answers(self, observation: Observation, number: int) -> tuple[Tensor, Tensor]:
        """Return each class's row sum of the gradient for inputs of that class, and of others.  # [C], [C]"""
        stream = stream_of(self.seed, "llg_whitebox", observation.round, observation.client_id)
        seen = seen_by_last_layer(observation, dummy_inputs(observation, number, self.init, stream))
        size = seen.features.double().sum(dim=1, keepdim=True)  # [n, 1]
        others = (seen.predicted.double() * size).mean(dim=0)
        return others - size.mean(), others
