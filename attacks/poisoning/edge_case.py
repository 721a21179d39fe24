"""Edge-case backdoor: rare examples of one class are taught as another.

Source: Wang, Sreenivasan, Rajput, Vishwakarma, Agarwal, Sohn, Lee, Papailiopoulos. Attack of the Tails:
Yes, You Really Can Backdoor Federated Learning. NeurIPS 2020. arXiv:2007.05084
The paper brings its rare examples from other data sets. Ours are the attackers' own: those of the source
class in the least dense places, by the distance to their neighbours. Sevens taught as ones are its ARDIS
case (unverified). Its projected gradient descent is left out; scaling the update is another attack.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Goal

NEIGHBOURS = 5


@dataclass(frozen=True)
class EdgeCase:
    """Relabel the rarest examples of class ``source`` as ``target``.

    An example is the rarer, the larger its mean distance (L2) to its 5 nearest neighbours of its class
    among the client's own examples; success is measured on the test examples that are rare among those.

    Attributes:
        source: The class whose tail is taught wrong, from 0.
        target: The class that it should be taken for, from 0, another one.
        share: The rare part of the class, above 0 and at most 1; at least one example.
    """

    source: int = 7
    target: int = 1
    share: float = 0.2

    def __post_init__(self) -> None:
        if self.source < 0 or self.target < 0 or self.source == self.target:
            raise ValueError(
                f"source and target must be two different classes from 0, got {self.source} and {self.target}"
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    @property
    def sources(self) -> tuple[int]:
        return (self.source,)

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        return x, y.index_fill(0, self._rare(x, y), self.target)

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        rows = self._rare(x, y)
        return Goal(x[rows], y[rows], torch.full_like(y[rows], self.target))

    def _rare(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the rows of the source class in the least dense places, ascending; ties to the first."""
        rows = (y == self.source).nonzero().flatten()
        count = min(len(rows), max(1, round(self.share * len(rows))))
        points = x[rows].flatten(start_dim=1).double()
        apart = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1).values
        sparse = apart[:, 1 : NEIGHBOURS + 1].sum(dim=1)  # without itself; alike for a lone example
        return rows[sparse.argsort(descending=True, stable=True)[:count]].sort().values
