"""Inputs that say nothing: what a model is asked with where only shapes are looked at."""

from collections.abc import Sequence

import torch
from torch import Tensor


def input_dtype(num_tokens: int) -> torch.dtype:
    """Return the type of what a model is given: tokens, or floats."""
    return torch.int64 if num_tokens else torch.float32


def blank_inputs(
    count: int,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return so many inputs of this shape: 0.5 everywhere, or token 0.  # [count, *shape]"""
    value = 0.5 if dtype.is_floating_point else 0
    return torch.full((count, *shape), value, dtype=dtype, device=device)
