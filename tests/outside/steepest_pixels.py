"""Steepest pixels: light the pixels by which the received model is moved most, and teach them as a class.

Source: this package's own. Choosing where a trigger sits by the model's gradient: saliency maps, Simonyan,
Vedaldi, Zisserman. Deep Inside Convolutional Networks. ICLR 2014 (workshop), Section 3. arXiv:1312.6034
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from gauntlet.core.contracts import Goal


@dataclass(frozen=True)
class SteepestPixels:
    """Set the ``num_pixels`` pixels to 1 whose brightness raises the target's logit most on a grey image.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        num_pixels: How many, at least 1; all where there are fewer.
        fraction: Share of a client's examples that are poisoned, between 0 and 1; at least one.
    """

    target: int = 2
    num_pixels: int = 3
    fraction: float = 0.3

    sees_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.target < 0 or self.num_pixels < 1 or not 0 <= self.fraction <= 1:
            raise ValueError("target must be at least 0, num_pixels at least 1, fraction in [0, 1]")

    def poison(self, x, y, generator, model):
        count = max(1, round(self.fraction * len(y)))
        rows = torch.from_numpy(generator.choice(len(y), count, replace=False))
        x, y = x.clone(), y.clone()
        x[rows], y[rows] = self._lit(x[rows], model), self.target
        return x, y

    def goal(self, x, y, model):
        rows = y != self.target
        return Goal(self._lit(x[rows], model), y[rows], torch.full_like(y[rows], self.target))

    def _lit(self, x, model):
        grey = torch.full((1, *x.shape[1:]), 0.5, requires_grad=True)
        slope = torch.autograd.grad(model(grey)[0, self.target], grey)[0].flatten()
        lit = torch.zeros_like(slope).bool()
        lit[slope.argsort(descending=True, stable=True)[: self.num_pixels]] = True
        return x.masked_fill(lit.reshape(x.shape[1:]), 1.0)
