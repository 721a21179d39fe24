"""Centered clipping: average what the updates say beyond the last aggregate, each clipped.

Source: Karimireddy, He, Jaggi. Learning from History for Byzantine Robust Optimization. ICML 2021,
Section 4. arXiv:2012.10333
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms, weighted_sum
from .clipping import clip_factors


@dataclass(frozen=True)
class CenteredClipping:
    """Move from the previous aggregate by the mean of the differences to it, each clipped.

    In the first round it starts from zero. The scores are the distances at the last step; a weight is what
    a client's update was multiplied with in it: what is missing to 1 is the centre's.

    Attributes:
        clip_norm: The bound on a difference (the paper's tau), in units of the update's L2 norm, above 0.
        iterations: Steps a round (the paper's l), at least 1.
    """

    clip_norm: float = 100.0
    iterations: int = 1

    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < inf:
            raise ValueError(f"clip_norm must be above 0 and finite, got {self.clip_norm}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")

    def init(self) -> Tensor | None:
        """Return the previous aggregate [P]: none yet."""
        return None

    def aggregate(self, updates: Updates, state: Tensor | None) -> tuple[Verdict, Tensor | None]:
        vectors = updates.vectors
        if len(updates) == 0:
            return Verdict(vectors.sum(dim=0)), state
        centre = (vectors.new_zeros(vectors.shape[1]) if state is None else state).double()  # v, [P]
        for _ in range(self.iterations):
            distances = row_norms(vectors, centre)
            weights = clip_factors(distances, self.clip_norm) / len(updates)
            centre = weighted_sum(vectors, weights).add_(centre, alpha=1 - float(weights.sum()))
        aggregate = centre.to(vectors.dtype)
        by_client = dict(zip(updates.client_ids.tolist(), distances.tolist(), strict=True))
        return Verdict(aggregate, weights, scores=by_client), aggregate.clone()
