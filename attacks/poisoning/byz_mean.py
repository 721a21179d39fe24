"""ByzMean: some attackers make the mean of the cohort whatever the others want it to be.

Source: Xu, Huang, Song, Lan. Byzantine-robust Federated Learning through Collaborative Malicious Gradient
Filtering (SignGuard). ICDCS 2022. arXiv:2109.05872
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import known_honest, mean_and_std


@dataclass(frozen=True)
class ByzMean:
    """Let the plain mean of honest and malicious updates be exactly g = mean - ``z`` std.

    Half of the attackers, rounded down, send g itself; the others share what is missing. (In the authors'
    code the counts of rows do not give exactly g; here they do, for a cohort without other attackers.)

    Attributes:
        z: The shift, in honest standard deviations of each coordinate (ddof = 1), not 0.
    """

    z: float = 0.5

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT

    def __post_init__(self) -> None:
        if self.z == 0 or not isfinite(self.z):
            raise ValueError(f"z must be finite and not 0, got {self.z}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        honest = known_honest(own, view)
        mean, std = mean_and_std(honest)
        goal, f = mean - self.z * std, len(own)
        others = 0 if view.honest is None else len(view.honest)
        followers = f // 2
        rest = ((others + f - followers) * goal - others * mean) / (f - followers)
        rows = own.vectors.new_empty(own.vectors.shape)
        rows[:followers] = goal.to(rows.dtype)
        rows[followers:] = rest.to(rows.dtype)
        return own.with_vectors(rows), state
