"""DnC, divide and conquer: drop the clients that stand out most along the direction of largest spread.

Source: Shejwalkar, Houmansadr. Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses
for Federated Learning. NDSS 2021, Algorithm 2. A client must survive every repeat (the intersection, as
in the paper); a public library took the union.

One direction decides who goes, in the paper's algorithm as here. A decoy far enough away is that direction:
it alone stands out, the others lie together on the far side of the mean, and those of them that go are those
farthest from the decoy, whatever else they sent. So f - 1 attackers on the decoy's side stay and as many
honest clients go. ``clipping`` before it bounds the decoy; measured in docs/known-limits.md.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.columns import Array
from .parts.fallback import OnInfeasible, check_robustness, fall_back
from .parts.screening import screened, stream, uniform


@dataclass(frozen=True)
class DnC:
    """Average the clients that survive every repeat.

    A repeat draws coordinates, centres them and drops the clients with the largest squared projections on
    the first right-singular vector, ties in client order. Scores are the mean of those: high is suspected.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0.
        num_coordinates: Coordinates drawn in a repeat (r), at least 1; all where there are fewer.
        repeats: T, at least 1.
        drop_factor: Clients dropped in a repeat, in units of ``num_byzantine`` (c), at least 0, rounded
            down. The cohort must be above that.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    num_coordinates: int = 10_000
    repeats: int = 5
    drop_factor: float = 1.0
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        for name, least in (("num_coordinates", 1), ("repeats", 1), ("drop_factor", 0)):
            if not least <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {getattr(self, name)}")

    @property
    def num_dropped(self) -> int:
        """Clients dropped in one repeat."""
        return int(self.drop_factor * self.num_byzantine)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return self.num_dropped + 1 if self.on_infeasible == "raise" else 1

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, size = updates.vectors.shape
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if cohort_size <= self.num_dropped:
            reason = f"dropping {self.num_dropped} needs a cohort above that, got {cohort_size}"
            return fall_back(self.on_infeasible, updates, reason), state
        rng, matrix = stream(updates, "dnc"), updates.vectors.detach().numpy()
        kept, total = np.ones(cohort_size, dtype=bool), np.zeros(cohort_size)
        repeats = self.repeats if size > self.num_coordinates else 1  # of all coordinates one says it all
        for _ in range(repeats):
            scores = spectral_scores(self._drawn(matrix, rng).astype(np.float64))
            kept[np.argsort(scores, kind="stable")[cohort_size - self.num_dropped :]] = False
            total += scores
        keep = torch.from_numpy(kept)
        return screened(updates, uniform(keep), ~keep, torch.from_numpy(total / repeats)), state

    def _drawn(self, matrix: Array, rng: np.random.Generator) -> Array:
        """Return random columns, or all where there are no more than that.  # [K, r]"""
        size = matrix.shape[1]
        if size <= self.num_coordinates:
            return matrix
        return matrix[:, np.sort(rng.choice(size, self.num_coordinates, replace=False))]


def spectral_scores(rows: Array) -> Array:
    """Return (c_i . v)^2 for the centred rows c and their first right-singular vector v.  # [K]

    From the eigenvectors of the K x K products: c v = sigma u.
    """
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    scores: Array = max(values[-1], 0.0) * vectors[:, -1] ** 2
    return scores
