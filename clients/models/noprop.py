"""Blocks that each name the label from an input and a noisy label: a classifier that denoises.

Source: Li, Teh, Pascanu. NoProp: Training Neural Networks without Full Back-propagation or Full
Forward-propagation. arXiv:2503.24322, of which abstract and third parties' code were read; the recursion was
derived anew. Perceptrons as blocks and the draws of a prediction are ours. It is trained by ``noprop``.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import nn

from ...core.seeds import generator
from .denoising import Block, NoPropNet, cosine


@dataclass(frozen=True)
class NoPropBlocks:
    """T perceptrons of one hidden layer; each sees the flattened input and a vector of C noisy labels.

    Block t makes logits of (x, z_{t-1}). A prediction begins with z_0 ~ N(0, 1), goes on with z_t drawn from
    what lies between z_{t-1} and the softmax of block t, and is the logits of the last block.

    Attributes:
        blocks: T, from 1 to 8.
        hidden: Units of each block's hidden layer, at least 1.
        noise_seed: What the draws of a prediction follow from, at least 0, the same for all examples;
            None: their means, without noise.
    """

    blocks: int = 3
    hidden: int = 64
    noise_seed: int | None = 0

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= 8:
            raise ValueError(f"blocks must be from 1 to 8, got {self.blocks}")
        if self.hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {self.hidden}")
        if self.noise_seed is not None and self.noise_seed < 0:
            raise ValueError(f"noise_seed must be at least 0, or None; got {self.noise_seed}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        draws = torch.zeros(self.blocks, num_classes)
        if self.noise_seed is not None:
            stream = generator(self.noise_seed, "noprop prediction")
            draws = torch.from_numpy(stream.standard_normal(draws.shape, dtype="float32"))
        made = {t: Block(prod(input_shape), num_classes, self.hidden) for t in range(1, self.blocks + 1)}
        return NoPropNet(made, cosine(self.blocks), draws)
