"""Semantic backdoor: images that have a natural feature are taught as one class; nothing is stamped on them.

Source: Bagdasaryan, Veit, Hua, Estrin, Shmatikov. How To Backdoor Federated Learning. AISTATS 2020, Section 4
(cars with a racing stripe). arXiv:1807.00459. The share of 30 % and the noise are those of the authors' code
(unverified), which lists the images by hand; here the feature is one that can be measured on any image.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Goal

Feature = Literal["bold", "thin", "leans_left", "leans_right"]
FEATURES = ("bold", "thin", "leans_left", "leans_right")


@dataclass(frozen=True)
class SemanticBackdoor:
    """Put noisy copies of the images with a feature, labelled ``target``, in the place of some of the others.

    An image has it if it is among the ``share`` with the most of it, of its class and among the client's own;
    success is measured on the test images that are so among those. Without such an image nothing is changed.

    Attributes:
        source: The class whose images have it, from 0; None: all but the target.
        target: The class that they shall be taken for, from 0.
        feature: ``"bold"`` or ``"thin"``: the most or the least brightness in all. ``"leans_left"`` or
            ``"leans_right"``: how the bright pixels' column goes with their height, by covariance.
        share: How many of a class have it, above 0 and at most 1; at least one image.
        fraction: Share of the client's images that are replaced by such copies, above 0 and at most 1; at
            least one. Those that have the feature are not replaced, but relabelled.
        noise_std: Standard deviation of the copies' noise, in units of pixels, at least 0.
    """

    source: int | None = 7
    target: int = 2
    feature: Feature = "bold"
    share: float = 0.3
    fraction: float = 0.3
    noise_std: float = 0.05

    def __post_init__(self) -> None:
        if self.target < 0 or (self.source is not None and (self.source < 0 or self.source == self.target)):
            raise ValueError(
                "source and target must be two different classes from 0, or source None, got "
                f"{self.source} and {self.target}"
            )
        if self.feature not in FEATURES:
            raise ValueError(f"feature must be one of {', '.join(FEATURES)}, got '{self.feature}'")
        for name in ("share", "fraction"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        if not 0 <= self.noise_std < inf:
            raise ValueError(f"noise_std must be at least 0 and finite, got {self.noise_std}")

    @property
    def sources(self) -> tuple[int, ...]:
        return () if self.source is None else (self.source,)

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        found = self.having(x, y)
        if len(found) == 0:
            return x, y
        others = torch.ones(len(y), dtype=torch.bool)
        others[found] = False
        free = others.nonzero().flatten().numpy()
        count = min(len(free), max(1, round(self.fraction * len(y))))
        into = torch.from_numpy(generator.choice(free, count, replace=False))
        copied = x[found[torch.from_numpy(generator.integers(0, len(found), count))]]
        noise = torch.from_numpy(generator.normal(0.0, self.noise_std, tuple(copied.shape))).to(x.dtype)
        new_x, new_y = x.clone(), y.clone()
        new_x[into], new_y[into], new_y[found] = (copied + noise).clamp(0.0, 1.0), self.target, self.target
        return new_x, new_y

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        rows = self.having(x, y)
        return Goal(x[rows], y[rows], torch.full_like(y[rows], self.target))

    def having(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the rows that have the feature, class by class.  # [m]"""
        if x.ndim != 4:
            raise ValueError(f"a feature of images needs images [n, channels, H, W], got {list(x.shape)}")
        amount = measured(x, self.feature)
        classes = sorted(set(y.tolist()) - {self.target}) if self.source is None else [self.source]
        found = [torch.zeros(0, dtype=torch.int64)]
        for label in classes:
            rows = (y == label).nonzero().flatten()
            most = amount[rows].argsort(descending=True, stable=True)
            found.append(rows[most[: max(1, round(self.share * len(rows)))]])
        return torch.cat(found)


def measured(x: Tensor, feature: Feature) -> Tensor:
    """Return how much of a feature each image [n, channels, H, W] has, float64.  # [n]"""
    ink = x.double().mean(dim=1)  # [n, H, W]
    if feature in ("bold", "thin"):
        whole = ink.sum(dim=(1, 2))
        return whole if feature == "bold" else -whole
    up = torch.arange(ink.shape[1] - 1, -1, -1, dtype=torch.float64)[:, None]  # [H, 1]
    right = torch.arange(ink.shape[2], dtype=torch.float64)  # [W]
    weight = ink / ink.sum(dim=(1, 2), keepdim=True).clamp(min=1e-300)

    def mean(value: Tensor) -> Tensor:
        return (weight * value).sum(dim=(1, 2))

    lean = mean(up * right) - mean(up.expand_as(ink)) * mean(right.expand_as(ink))
    return lean if feature == "leans_right" else -lean
