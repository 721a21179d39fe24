"""Permutation: send the honest update with its coordinates in another order.

Source: Blades (an attack of its older versions, which its paper does not name: unverified). Li, Fung, Chen,
Yang, Wang, Friedman, Guo. Blades. 2022. arXiv:2206.05359
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class Permutation:
    """Permute the coordinates of the client's own update, in an order drawn anew for each client and round.

    Norm, mean and spread of the values stay exactly what they were, so that only a rule that looks at where
    they stand can tell it from an honest update.
    """

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        order = torch.from_numpy(view.generator.permutation(own.vectors.shape[1]))
        return own.with_vectors(own.vectors[:, order]), state
