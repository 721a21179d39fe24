"""Unreliable clients: honest, but with poor data. Not an attack.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious
and Unreliable Clients in Federated Learning. ESORICS 2022. arXiv:2208.10273 (numbers: its released code)
That code drops and blurs whole batches, and on MNIST shrinks a blurred image; here each example is dropped
or blurred by itself, and images keep their size.
"""

from dataclasses import dataclass
from math import exp, isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Unreliable:
    """Keep only some of the client's examples, and blur or noise some of those; drawn anew each round.

    Attributes:
        keep: Share of the examples that are used, above 0 and at most 1; at least one.
        spoil: Probability that a used example is spoilt, between 0 and 1.
        kernel_size: Side of the Gaussian blur in pixels, odd; 1 blurs nothing. Edges are reflected.
        blur_std: Its standard deviation in pixels, above 0. A large one makes it a box filter. The code
            has 7 and 50 for MNIST, 5 and 30 for Fashion-MNIST.
        max_noise_std: The code's other mode: Gaussian noise on every pixel of a spoilt example, whose
            standard deviation is drawn uniformly between 0 and this, at least 0. 0 adds none.
    """

    keep: float = 0.3
    spoil: float = 0.5
    kernel_size: int = 7
    blur_std: float = 50.0
    max_noise_std: float = 0.0

    honest: ClassVar[bool] = True
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be above 0 and at most 1, got {self.keep}")
        if not 0 <= self.spoil <= 1:
            raise ValueError(f"spoil must be between 0 and 1, got {self.spoil}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {self.kernel_size}")
        if not (self.blur_std > 0 and isfinite(self.blur_std)):
            raise ValueError(f"blur_std must be finite and above 0, got {self.blur_std}")
        if not (self.max_noise_std >= 0 and isfinite(self.max_noise_std)):
            raise ValueError(f"max_noise_std must be finite and at least 0, got {self.max_noise_std}")

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        used = generator.random(len(y)) < self.keep
        used[generator.integers(len(y))] |= not used.any()
        x, y = x[torch.from_numpy(used)], y[torch.from_numpy(used)]
        spoilt = torch.from_numpy(generator.random(len(y)) < self.spoil)
        x[spoilt] = self._noised(self._blurred(x[spoilt]), generator)
        return x, y

    def _blurred(self, x: Tensor) -> Tensor:
        if self.kernel_size == 1 or not len(x):
            return x
        edge = self.kernel_size // 2
        if x.ndim != 4 or min(x.shape[-2:]) <= edge:
            raise ValueError(
                f"a blur of {self.kernel_size} pixels needs images [n, channels, H, W] larger than {edge}, "
                f"got shape {tuple(x.shape)}; kernel_size = 1 blurs nothing"
            )
        line = torch.tensor([exp(-(((i - edge) / self.blur_std) ** 2) / 2) for i in range(self.kernel_size)])
        line = (line / line.sum()).to(x.dtype)
        channels = x.shape[1]
        across = line.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
        padded = nn.functional.pad(x, (edge, edge, edge, edge), mode="reflect")
        blurred = nn.functional.conv2d(padded, across, groups=channels)
        return nn.functional.conv2d(blurred, across.transpose(2, 3), groups=channels).clamp(0, 1)

    def _noised(self, x: Tensor, generator: np.random.Generator) -> Tensor:
        if self.max_noise_std == 0 or not len(x):
            return x
        stds = generator.uniform(0, self.max_noise_std, (len(x), *[1] * (x.ndim - 1)))
        noisy = x + torch.from_numpy(generator.standard_normal(tuple(x.shape)) * stds).to(x.dtype)
        return noisy.clamp(0, 1) if x.ndim > 2 else noisy  # pixels have bounds, features have not
