"""The imprint block: a layer whose bins each keep the examples of one brightness apart from all others.

Before the model stand k rows that all measure the mean of an example's values, m(x) = <w, x>, less the
thresholds q_0 < ... < q_(k-1), which cut what is expected of m into k equally likely parts, and a ReLU. What
they give is summed with one weight, so that every row sees the same upstream gradient. Row i is active for
the examples with m(x) > q_i. So the gradients of rows i and i + 1 differ by those examples with
q_i < m(x) <= q_(i+1); where that is one, it is their weights' difference over their biases'.

Source: Fowl, Geiping, Czaja, Goldblum, Goldstein. Robbing the Fed: Directly Obtaining Private Data in
Federated Learning with Modified Models. ICLR 2022, Section 3. arXiv:2110.13057. The sum that is added to
every value of the example, in the place of a second layer of its size, is ours, and so is ``scale``.
"""

from dataclasses import dataclass
from math import inf, isfinite, prod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

_BELOW = 10.0  # standard deviations below the mean: every example is above the first threshold


@dataclass(frozen=True)
class Imprint:
    """Put the block before the model, and its parameters back in every round.

    The model learns on behind it: an example is shifted by ``gain`` times what its rows give in all. The
    server's own block, which is scored, moves with what clients send: the less, the smaller gain and scale.

    Attributes:
        bins: Rows of the block, k, from 2 to 65536.
        mean: What the mean of an example's values is on average, in units of the inputs.
        std: Its standard deviation from example to example, above 0, in the same units.
        gain: The weight of the sum, not 0. The examples' gradients are proportional to it.
        scale: What measurement and thresholds are multiplied by, above 0. Gradients stay as they are, and
            what float32 blurs of them falls with it: parameters are rounded in proportion to their size. 1 is
            the paper's.
        input_shape: The shape of one example; needed where the model does not begin with a linear layer.
    """

    bins: int = 128
    mean: float = 0.5
    std: float = 0.15
    gain: float = 0.01
    scale: float = 1.0
    input_shape: tuple[int, ...] | None = None

    deviates: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= 2**16:
            raise ValueError(f"bins must be from 2 to {2**16}, got {self.bins}")
        if not (0 < self.std < inf and 0 < self.scale < inf):
            raise ValueError(f"std and scale must be above 0 and finite, got {self.std} and {self.scale}")
        if not (isfinite(self.mean) and isfinite(self.gain)):
            raise ValueError(f"mean and gain must be finite, got {self.mean} and {self.gain}")
        if self.gain == 0:
            raise ValueError("gain must not be 0: no gradient would come back to the block")
        if self.input_shape is not None and min(self.input_shape, default=0) < 1:
            raise ValueError(f"input_shape must be sizes of at least 1, got {list(self.input_shape)}")

    def rebuild(self, model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        size = prod(self.input_shape) if self.input_shape else _first_width(model)
        made, block = Imprinted(model, size, self.bins), self._block(size)
        with torch.no_grad():
            for parameter in (made.measure.weight, made.measure.bias, made.spread.weight):
                parameter.copy_(block[: parameter.numel()].view_as(parameter))
                block = block[parameter.numel() :]
        return made, {"layer": "measure", "size": size}

    def init(self, secret: Any) -> int:
        return int(secret["size"])

    def plant(
        self, params: Tensor, state: int, generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Any], int]:
        """Return the parameters with the block's, which are the first, as they must be."""
        block = self._block(state)
        return torch.cat([block, params[len(block) :]]), {}, state

    def _block(self, size: int) -> Tensor:
        """Return the block's parameters in their order, for examples of ``size`` values.  # [k (size + 2)]"""
        weight = torch.full((self.bins * size,), self.scale / size)
        bias = -self.scale * self._thresholds()
        return torch.cat([weight, bias.float(), torch.full((self.bins,), self.gain)])

    def _thresholds(self) -> Tensor:
        """Return q, ascending: quantiles of N(mean, std^2), and first one below all; float64.  # [k]"""
        share = torch.arange(1, self.bins, dtype=torch.float64) / self.bins
        steps = torch.cat([torch.tensor([-_BELOW], dtype=torch.float64), torch.special.ndtri(share)])
        return self.mean + self.std * steps


class Imprinted(nn.Module):
    """A model behind the block, whose parameters are the first of all.

    Attributes:
        measure: The rows.  # [k, D]
        spread: Their sum's weights.  # [1, k]
        net: The model.
    """

    def __init__(self, net: nn.Module, size: int, bins: int) -> None:
        super().__init__()
        self.measure = nn.Linear(size, bins)
        self.spread = nn.Linear(bins, 1, bias=False)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        shift = self.spread(self.measure(x.flatten(1)).relu())  # [B, 1]
        return self.net(x + shift.view(-1, *[1] * (x.ndim - 1)))  # type: ignore[no-any-return]


def _first_width(model: nn.Module) -> int:
    """Return how many values the model's first layer takes.

    Raises:
        ValueError: It is no linear layer, so that the model does not tell.
    """
    owners = (m for m in model.modules() if next(m.parameters(recurse=False), None) is not None)
    first = next(owners, None)
    if not isinstance(first, nn.Linear):
        raise ValueError(
            f"a model that begins with {first} does not tell the size of an example: give input_shape"
        )
    return first.in_features
