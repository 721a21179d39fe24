"""Pictures that lie channels last in memory: on a CPU, convolutions and poolings go faster.

For clients that train one at a time. The values are the same but for the order of sums.
"""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn

from ..core.seeds import generator, seeded_torch


def takes_channels_last(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Return whether a model makes the same of pictures that lie channels last, and has something to gain.

    A copy of it is asked with four random pictures, in training. One that looks through ``view`` at what a
    convolution gave cannot take them, as torch says then; dropout of a convolution's values would draw its
    mask in another order than in a stack; and group normalisation is slower with channels last.

    Args:
        model: On the CPU.
        shape: Of one example; pictures have [C, H, W].
    """
    kinds = {type(module) for module in model.modules()}
    if len(shape) != 3 or nn.Conv2d not in kinds or nn.GroupNorm in kinds:
        return False
    trial = deepcopy(model).train()

    def made(x: Tensor) -> Tensor:
        with torch.no_grad(), seeded_torch(generator(0, "dropout")):
            return cast(Tensor, trial(x))

    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    try:
        return torch.allclose(made(channels_last(x)), made(x), rtol=1e-3, atol=1e-5)
    except RuntimeError:
        return False


def channels_last(x: Tensor) -> Tensor:
    """Return pictures [B, C, H, W] with a pixel's channels side by side; so are those of a choice of them."""
    return x.to(memory_format=torch.channels_last)
