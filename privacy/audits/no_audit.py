"""No audit: nobody is added to the population, and nothing is found out.

Source: none; the neutral member of the family.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import Audited


@dataclass(frozen=True)
class NoAudit:
    """Plant no canary; the lower bound is 0 whatever happens."""

    num_canaries: ClassVar[int] = 0
    num_unseen: ClassVar[int] = 0
    statistic: ClassVar[str] = "final"
    delta: ClassVar[float | None] = None

    def present(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        return np.zeros(0, dtype=bool)

    def judge(
        self,
        scores: np.ndarray[Any, Any],
        present: np.ndarray[Any, Any],
        dimension: int,
        delta: float,
        generator: np.random.Generator,
    ) -> Audited:
        return Audited(0.0, None, 1.0)
