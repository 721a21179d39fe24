"""Adaptive robust clipping (ARC): the longest updates become as long as the next one.

Source: Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan. Adaptive Gradient Clipping for Robust
Federated Learning (first version: The Vital Role of Gradient Clipping in Byzantine-Resilient
Distributed Learning). 2024. arXiv:2405.14432
"""

from dataclasses import dataclass

from ..core.errors import InfeasibleCohort
from ..core.matrices import scaled
from ..core.norms import fast_row_norms
from ..core.updates import Updates
from .clipping import clip_factors


@dataclass(frozen=True)
class ARC:
    """Clip the k = floor(2 f (K - f) / K) longest updates to the norm of the next longest.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0 and below
            the cohort's size.
    """

    num_byzantine: int

    def __post_init__(self) -> None:
        if self.num_byzantine < 0:
            raise ValueError(f"num_byzantine must be at least 0, got {self.num_byzantine}")

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return self.num_byzantine + 1

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if cohort_size == 0:
            return updates, state
        if cohort_size <= f:
            raise InfeasibleCohort(
                f"clipping against {f} clients needs a cohort above {f}, got {cohort_size}"
            )
        clipped = 2 * f * (cohort_size - f) // cohort_size  # k, in whole numbers: no rounding
        norms = fast_row_norms(updates.vectors)
        bound = float(norms.sort(descending=True).values[clipped])
        return updates.with_vectors(scaled(updates.vectors, clip_factors(norms, bound))), state
