"""DBA: a backdoor whose trigger is split over the attackers; each teaches a part, the whole opens the door.

Source: Xie, Huang, Chen, Li. DBA: Distributed Backdoor Attacks against Federated Learning. ICLR 2020.
openreview rkgyS0VFvr
The four lines and the fraction are those of the authors' code for MNIST. The words size, gap and location
follow the paper's trigger factors (unverified). Scaling the update is another attack.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...core.contracts import Goal
from .parts.trigger import Pixel, check_trigger, stamp, teach, triggered
from .pixel_backdoor import PixelBackdoor

Parts = tuple[tuple[Pixel, ...], ...]
NUM_PARTS = 4


@dataclass(frozen=True)
class DistributedBackdoor:
    """Split a trigger of four short lines over the attackers; success is measured with all four.

    The lines are the corners of a rectangle, numbered left to right and top to bottom. With four
    attackers each has one; with fewer, the lines are dealt out in turn, so that none is left; with more,
    attacker i has line i modulo 4.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        fraction: Share of the client's examples that are poisoned, above 0 and at most 1; at least one.
        trigger_size: Pixels of one line, at least 1.
        trigger_gap: Pixels between the lines, across and down, at least 0.
        trigger_location: Row and column of the trigger's top left pixel, at least 0.
        value: What the pixels are set to, between 0 and 1.
    """

    target: int = 2
    fraction: float = 20 / 64
    trigger_size: int = 4
    trigger_gap: int = 2
    trigger_location: tuple[int, int] = (0, 0)
    value: float = 1.0

    def __post_init__(self) -> None:
        check_trigger(self.target, self.fraction, self.value)
        if self.trigger_size < 1:
            raise ValueError(f"trigger_size must be at least 1, got {self.trigger_size}")
        if self.trigger_gap < 0:
            raise ValueError(f"trigger_gap must be at least 0, got {self.trigger_gap}")
        if min(self.trigger_location) < 0:
            raise ValueError(f"trigger_location must be at least 0, got {self.trigger_location}")

    def lines(self) -> Parts:
        """Return the pixels of each line."""
        top, left = self.trigger_location
        rows, columns = (top, top + 1 + self.trigger_gap), (left, left + self.trigger_size + self.trigger_gap)
        return tuple(
            tuple((row, column + step) for step in range(self.trigger_size))
            for row in rows
            for column in columns
        )

    def part(self, index: int, count: int) -> PixelBackdoor:
        """Return what the ``index``-th of ``count`` attackers runs."""
        mine = [line for number, line in enumerate(self.lines()) if number % count == index % NUM_PARTS]
        return PixelBackdoor(self.target, self.fraction, tuple(p for line in mine for p in line), self.value)

    def trigger(self, x: Tensor) -> Tensor:
        """Return images [n, channels, H, W] that carry the whole trigger."""
        return stamp(x, [pixel for line in self.lines() for pixel in line], self.value)

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Teach the whole trigger, as a single attacker would."""
        return teach(x, y, self.trigger(x), self.target, self.fraction, generator)

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        return triggered(y, self.trigger(x), self.target)
