"""Pictures that lie channels last in memory: on a CPU, convolutions and poolings go faster.

For clients that train one at a time. The values are the same but for the order of sums.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from ...core.seeds import generator, seeded_torch


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
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    found = []
    try:
        trial = deepcopy(model).train()
        for pictures in (x, channels_last(x)):
            with torch.no_grad(), seeded_torch(generator(0, "dropout")):
                found.append(trial(pictures))
        return torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-5)
    except Exception:  # no copy, or not of these: what else is wrong with the model shows in training
        return False


def channels_last(x: Tensor) -> Tensor:
    """Return pictures [B, C, H, W] with a pixel's channels side by side; so are those of a choice of them."""
    return x.to(memory_format=torch.channels_last)
