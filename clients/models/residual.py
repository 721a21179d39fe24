"""Residual blocks that may be dropped in training, and how probably each of them is there.

Source: He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385;
outputs of blocks at test time as in Huang, Sun, Liu, Sedra, Weinberger. Deep Networks with Stochastic Depth.
ECCV 2016. arXiv:1603.09382
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + f(x), f two linear layers with a ReLU before each; outside of training x + keep f(x).

    Attributes:
        keep: The probability with which the block is there in training, above 0 and at most 1.
    """

    def __init__(self, width: int, keep: float) -> None:
        super().__init__()
        self.keep = keep
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        body: Tensor = self.body(x)
        return x + (body if self.training else self.keep * body)


def keep_probabilities(blocks: int, keep_last: float) -> list[float]:
    """Return p_l = 1 - (l / L) (1 - p_L) for l = 1 .. L."""
    return [1 - block / blocks * (1 - keep_last) for block in range(1, blocks + 1)]
