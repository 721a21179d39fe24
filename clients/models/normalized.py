"""Normalising inputs as the model's first layer, so that data, attacks and pictures stay in [0, 1]."""

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """A model that first subtracts each channel's mean and divides by its standard deviation.

    Both are buffers that are not saved: a layout does not see them and no client exchanges them.

    Attributes:
        net: The model on normalised inputs.
        mean: Mean of each channel, in units of the inputs.  # [channels]
        std: Standard deviation of each channel likewise, above 0.  # [channels]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise ValueError(
                f"mean and std must be as many, at least 1, and std above 0; got {mean} and {std}"
            )
        self.net = net
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))  # beside [B, channels, ...]
        return self.net((x - self.mean.view(shape)) / self.std.view(shape))  # type: ignore[no-any-return]
