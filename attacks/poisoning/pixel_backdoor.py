"""BadNets: images that carry a few fixed pixels are taught as one class.

Source: Gu, Dolan-Gavitt, Garg. BadNets: Identifying Vulnerabilities in the Machine Learning Model
Supply Chain. 2017. arXiv:1708.06733
The default trigger is our reading of the code of MUD-HoG (arXiv:2208.10273), which sets twelve pixels in
two rows at the top left: which twelve is unverified.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...core.contracts import Goal
from .parts.trigger import Pixel, check_trigger, stamp, teach, triggered

TWO_ROWS: tuple[Pixel, ...] = tuple((row, column) for row in (0, 1) for column in range(6))


@dataclass(frozen=True)
class PixelBackdoor:
    """Stamp the trigger on a fraction of the client's images, drawn anew each round, and relabel them.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        fraction: Share of the client's examples that are poisoned, above 0 and at most 1; at least one.
        pixels: The trigger: (row, column) from the top left, negative ones from the bottom right.
            FLDetector's, on 28 x 28: ``[[26, 26], [24, 26], [26, 24], [25, 25]]`` with target 0.
        value: What those pixels are set to, between 0 and 1.
    """

    target: int = 2
    fraction: float = 0.5
    pixels: tuple[Pixel, ...] = TWO_ROWS
    value: float = 1.0

    def __post_init__(self) -> None:
        check_trigger(self.target, self.fraction, self.value)
        if not self.pixels:
            raise ValueError("pixels must name at least one pixel, got none")

    def trigger(self, x: Tensor) -> Tensor:
        """Return images [n, channels, H, W] that carry the trigger."""
        return stamp(x, self.pixels, self.value)

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        return teach(x, y, self.trigger(x), self.target, self.fraction, generator)

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        return triggered(y, self.trigger(x), self.target)
