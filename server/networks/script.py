"""Durations that are written down: for golden rounds, and for delays of one's own.

Source: the scripted events of FLSim's tests (facebookresearch/FLSim), as a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import Delivery
from .ideal import Ideal

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Script:
    """Let a client that begins in a round take the seconds that a table says; no message is lost.

    Attributes:
        seconds: One list a round, of one duration a client, finite and at least 0. Clients beyond a list's
            end begin again at its first.
        repeat: Whether rounds beyond the last list begin again at the first; else such a round is refused.
    """

    seconds: Sequence[Sequence[float]]
    repeat: bool = False

    blind: ClassVar[bool] = True
    complete: ClassVar[bool] = True
    timed_by: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not len(self.seconds) or not all(len(row) for row in self.seconds):
            raise ValueError("seconds must hold at least one list of at least one duration")
        for row in self.seconds:
            for value in row:
                if not 0 <= value < inf:
                    raise ValueError(f"seconds must be finite and at least 0, got {value}")

    def deliver(
        self, examples: Array, bytes_down: int | Array, bytes_up: Array, generator: np.random.Generator
    ) -> Delivery:
        return Ideal().deliver(examples, bytes_down, bytes_up, generator)

    def own_seconds(self, client_ids: Array, round_: int, seed: int) -> Array:
        """Return what clients take who begin in a round, float64.  # [K]

        Raises:
            ValueError: The script has no such round.
        """
        if round_ >= len(self.seconds) and not self.repeat:
            raise ValueError(
                f"seconds are written down for {len(self.seconds)} rounds, and round {round_} came"
            )
        row = np.asarray(self.seconds[round_ % len(self.seconds)], dtype=np.float64)
        found: Array = row[client_ids % len(row)]
        return found
