"""No privacy mechanism: every update passes as it is, and nothing is proved.

Source: none; the neutral member of the family.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee
from ..core.seeds import Streams
from ..core.updates import Updates


@dataclass(frozen=True)
class NoPrivacy:
    """Hand everything through, and charge every round with the reason ``no_mechanism``."""

    unit: ClassVar[str] = "none"
    trust_model: ClassVar[str] = "none"
    settled: ClassVar[bool] = True
    relation: ClassVar[str] = "none"

    def init(self) -> None:
        return None

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        return updates

    def clip(self, updates: Updates, state: None) -> tuple[Updates, None]:
        return updates, state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, None]:
        return aggregate, state

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> NoGuarantee:
        return NoGuarantee("no_mechanism")
