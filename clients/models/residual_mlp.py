"""A residual multi-layer perceptron whose blocks may be dropped in training.

Source: He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385;
outputs of blocks at test time as in Huang, Sun, Liu, Sedra, Weinberger. Deep Networks with Stochastic Depth.
ECCV 2016. arXiv:1603.09382
"""

from dataclasses import dataclass
from math import prod

from torch import nn

from .residual import ResidualBlock, keep_probabilities


@dataclass(frozen=True)
class ResidualMlp:
    """A linear layer on the flattened input, residual blocks, ReLU, a linear layer.

    Attributes:
        width: Units of every layer, at least 1.
        blocks: L, blocks, at least 1.
        keep_last: p_L: block l of L counts p_l = 1 - (l / L) (1 - p_L) outside of training; above 0, at
            most 1. Below 1 it goes with algorithm ``stochastic_depth``, whose clients train some
            blocks alone, or with ``per_batch`` and any other.
        per_batch: Whether in training each batch has block l with probability p_l, as in the paper; clients
            then exchange all of them.
    """

    width: int = 32
    blocks: int = 6
    keep_last: float = 1.0
    per_batch: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.keep_last <= 1:
            raise ValueError(f"keep_last must be above 0 and at most 1, got {self.keep_last}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        keeps = keep_probabilities(self.blocks, self.keep_last)
        first = nn.Linear(prod(input_shape), self.width)
        blocks = [ResidualBlock(self.width, keep, self.per_batch) for keep in keeps]
        return nn.Sequential(nn.Flatten(), first, *blocks, nn.ReLU(), nn.Linear(self.width, num_classes))
