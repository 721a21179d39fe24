"""What both ways to Flower read in its records. Needs no Flower itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.layout import Layout

WEIGHT = "num-examples"
"""Under which name Flower's clients say how many examples they have."""


def vector_of(arrays: Mapping[str, Any], layout: Layout) -> Tensor:
    """Return the floating arrays of an array record as one float32 vector.  # [P]"""
    values = {s.name: torch.from_numpy(np.asarray(arrays[s.name].numpy())) for s in layout.parameters}
    return layout.flatten(values)
