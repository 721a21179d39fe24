"""A stand-in for clients with poor data: few examples, half of them blurred."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Unreliable:
    """Keep each example with probability 0.3, draw as many as before, blur half of them by 3 x 3."""

    def poison(self, x, y, generator):
        kept = (generator.random(len(x)) < 0.3).nonzero()[0]
        take = torch.as_tensor(generator.choice(kept if len(kept) else [0], len(x)))
        x, y = x[take], y[take]
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
        hit = torch.as_tensor(generator.random(len(x)) < 0.5)
        return torch.where(hit[:, None, None, None], blurred, x), y
