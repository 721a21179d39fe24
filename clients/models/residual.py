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
        drawn: What draws for a whole batch whether it is there, as dropout does of a single 1; None: whoever
            trains it does.
    """

    def __init__(self, width: int, keep: float, per_batch: bool = False) -> None:
        super().__init__()
        self.keep, self.drawn = keep, nn.Dropout(1 - keep) if per_batch else None
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        body: Tensor = self.body(x)
        if self.drawn is None:
            return x + (body if self.training else self.keep * body)
        there: Tensor = self.keep * self.drawn(body.new_ones(1))  # 0 or 1; keep outside of training
        return x + there * body


def keep_probabilities(blocks: int, keep_last: float) -> list[float]:
    """Return p_l = 1 - (l / L) (1 - p_L) for l = 1 .. L."""
    return [1 - block / blocks * (1 - keep_last) for block in range(1, blocks + 1)]
