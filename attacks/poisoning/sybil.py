"""Sybils: one attacker under many identities, all of which want the same thing.

Source: Fung, Yoon, Beschastnikh. Mitigating Sybils in Federated Learning Poisoning. 2018 (FoolsGold; at RAID
2020 as The Limitations of Federated Learning in Sybil Settings), Sections 3 and 7 (noise that the identities
add to what they send, and take away again in the sum). arXiv:1808.04866
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import mean_and_std


@dataclass(frozen=True)
class Sybil:
    """Send the colluders' mean update from every identity, with or without noise that tells them apart.

    What they want is up to the attack on data that this one follows (``update`` in a scenario).

    Attributes:
        noise: How long the noise of one identity is in expectation, in units of the mean update's L2 norm, at
            least 0. 0: all send the same bits.
        cancels: Whether the noise of all identities sums to zero, so that a mean keeps nothing of it. A
            single identity then has none.
    """

    noise: float = 0.0
    cancels: bool = True

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS

    def __post_init__(self) -> None:
        if not (self.noise >= 0 and isfinite(self.noise)):
            raise ValueError(f"noise must be finite and at least 0, got {self.noise}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        mean, _ = mean_and_std(own.vectors)
        rows = mean.repeat(len(own), 1)  # [k, P]
        if self.noise > 0:
            drawn = torch.from_numpy(view.generator.standard_normal(tuple(rows.shape)))
            rows = rows + self.noise * float(mean.norm()) / len(mean) ** 0.5 * self._apart(drawn)
        return own.with_vectors(rows.to(own.vectors.dtype)), state

    def _apart(self, drawn: Tensor) -> Tensor:
        """Return the noise of all identities, of variance 1 in every coordinate.  # [k, P]"""
        if not self.cancels:
            return drawn
        size = len(drawn)
        shrunk = (size / (size - 1)) ** 0.5 if size > 1 else 1.0
        return shrunk * (drawn - drawn.mean(dim=0))
