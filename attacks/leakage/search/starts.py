"""Where a search begins."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....core.errors import PluginError
from ....core.observation import Observation

Init = Literal["normal", "uniform"]


def refuse_boundless(value_range: tuple[float, float], init: Init) -> None:
    """Raise ``PluginError`` where a uniform start is wanted and values have no finite range."""
    low, high = value_range
    if init == "uniform" and not math.isfinite(high - low):
        raise PluginError(
            f"init 'uniform' needs a finite value_range, got ({low}, {high}); use init = 'normal'"
        )


def dummy_inputs(
    observation: Observation, batch_size: int, init: Init, stream: np.random.Generator
) -> Tensor:
    """Return starting inputs [B, ...]: standard normal, or uniform over the range of values.

    Raises:
        PluginError: A uniform start where values have no finite range.
    """
    shape = (batch_size, *observation.input_shape)
    if init == "normal":
        return torch.from_numpy(stream.standard_normal(shape)).float()
    refuse_boundless(observation.value_range, init)
    low, high = observation.value_range
    return torch.from_numpy(stream.uniform(low, high, shape)).float()
