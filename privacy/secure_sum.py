"""Ideal secure aggregation without noise: the server sees the sum of a cohort's messages, and none of them.

Source: the functionality of Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth.
Practical Secure Aggregation for Privacy-Preserving Machine Learning. CCS 2017. The protocol itself (masks,
secret shares, the integers that it adds up) is not simulated.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee
from ..core.seeds import Streams
from ..core.updates import Updates


@dataclass(frozen=True)
class SecureSum:
    """Show the server, and whoever stands in its place, the sum that its linear defense divides.

    Every client multiplies its message by what the defense's public rule lets it count (1, or the examples
    that it claims); the server learns the sum of these, the sum of the counts, and whose messages are in it:
    those that came in time, decode and are finite. Messages are neither clipped nor noised. The sum is taken
    in float64, as without the mechanism, so that a run has the same bits with it and without.

    Nothing is proved: the sum itself is released as it is, and one client's part of it is bounded by nothing.
    Add noise with ``skellam`` or ``discrete_gaussian``.

    Bytes are those of the messages alone. A protocol sends more: public keys and encrypted secret shares, of
    the order of K for each of K clients; integers wide enough for the sum; and a second exchange in which
    clients that stayed unmask those that did not.
    """

    unit: ClassVar[str] = "none"
    trust_model: ClassVar[str] = "none"
    relation: ClassVar[str] = "none"
    settled: ClassVar[bool] = True
    sum_only: ClassVar[bool] = True

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
        """Prove nothing: no noise is added to the sum."""
        return NoGuarantee("no_mechanism")
