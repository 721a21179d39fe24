"""Which classes are there: those whose part of the last layer's gradient is negative.

Source: Zhao, Mopuri, Bilen. iDLG: Improved Deep Leakage from Gradients. 2020, Equation 3.
arXiv:2001.02610, for a batch: only a class that is there makes dL/dz_c negative for one of its examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...core.observation import Observation
from .parts.labels import last_layer, refuse_no_bias
from .parts.requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class NegativeRows:
    """Tell which classes were in a client's step, and not how often: scores are 1 where one was, else 0.

    A class that is said to be there is, where features of the last layer are not negative (of the bias: for
    any features); one that is there is missed where the others' probabilities of it outweigh its own
    examples. Needs no knowledge at all.

    Attributes:
        read: The rows of the last layer's weight, summed ("weights"), or its bias ("bias").
    """

    read: Literal["weights", "bias"] = "weights"

    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def check(self, observation: Observation) -> None:
        if self.read == "bias":
            refuse_no_bias(observation, "NegativeRows with read = 'bias'")
        last_layer(observation, observation.update)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._there(o) for o in observations])  # [N, C]

    def _there(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        layer = last_layer(observation, -observation.update.double())
        evidence = layer.weight.sum(dim=1) if self.read == "weights" else layer.bias
        assert evidence is not None, "check saw a bias"
        return (evidence < 0).double()
