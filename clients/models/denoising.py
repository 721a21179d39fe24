"""Blocks that read a noisy label, the order in which a prediction goes through them, and its noise.

Source: Li, Teh, Pascanu. NoProp: Training Neural Networks without Full Back-propagation or Full
Forward-propagation. arXiv:2503.24322, of which abstract and third parties' code were read; the recursion was
derived anew. Model ``noprop`` makes them, algorithm ``noprop`` trains them.
"""

from collections.abc import Sequence
from math import cos, pi, sqrt

import torch
from torch import Tensor, nn

CLAMP = 1e-4


class Block(nn.Module):
    """One hidden layer on an input and noisy labels."""

    def __init__(self, features: int, num_classes: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features + num_classes, hidden)
        self.out = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return logits [B, C] of inputs [B, ...] and noisy labels [B, C]."""
        logits: Tensor = self.out(torch.relu(self.hidden(torch.cat([x.flatten(1), z], dim=1))))
        return logits


class NoPropNet(nn.Module):
    """Blocks by their number from 1, some of which may be missing: then z goes past them.

    Attributes:
        blocks: The blocks, by number.
        signal: abar_0 to abar_T: the share of the label in the variance of each z, rising.
        draws: The noise of z_0 to z_{T-1}.  # [T, C], or of B examples each [T, B, C]
    """

    def __init__(self, blocks: dict[int, Block], signal: Sequence[float], draws: Tensor) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({str(t): block for t, block in blocks.items()})
        self.signal, self.draws = tuple(signal), draws

    @property
    def numbers(self) -> list[int]:
        """The numbers of the blocks that are there."""
        return [int(t) for t in self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        draws = self.draws.to(x.device)
        said = x.new_full((len(x), draws.shape[-1]), 1 / draws.shape[-1])  # [B, C]
        z, at, logits = draws[0].expand_as(said), 0, said
        for t in self.numbers:
            if t - 1 > at:
                mean, kept, var = between(self.signal[at], self.signal[t - 1])
                z, at = mean * said + kept * z + sqrt(var) * draws[t - 1], t - 1
            logits = self.blocks[str(t)](x, z)
            said = logits.softmax(dim=1)
        return logits


def cosine(blocks: int) -> list[float]:
    """Return abar_0 to abar_T: cos((1 - t / T) pi / 2)^2, between 1e-4 and 1 - 1e-4."""
    shares = (cos((1 - t / blocks) * pi / 2) ** 2 for t in range(blocks + 1))
    return [min(max(share, CLAMP), 1 - CLAMP) for share in shares]


def between(before: float, after: float) -> tuple[float, float, float]:
    """Return (a, b, c) of q(z_t | z_s, u): its mean is a u + b z_s, its variance c.

    Args:
        before: abar_s.
        after: abar_t, above it. z_t = sqrt(abar_t) u + sqrt(1 - abar_t) noise for either.
    """
    alpha = before / after
    return (
        sqrt(after) * (1 - alpha) / (1 - before),
        sqrt(alpha) * (1 - after) / (1 - before),
        (1 - after) * (1 - alpha) / (1 - before),
    )
