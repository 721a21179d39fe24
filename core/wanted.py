"""What was wanted and what came, in one line: the words in which replies of plug-ins are refused."""

from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import PluginError, shown


def want(fact: bool, what: str, came: object) -> None:
    if not fact:
        raise PluginError(f"must return {what}, got {kind_of(came)}")


def kind_of(came: object) -> str:
    """Return in words what came: of a tensor its type and shape."""
    if isinstance(came, Tensor | np.ndarray):
        return f"{type(came).__name__} {str(came.dtype).removeprefix('torch.')} {list(came.shape)}"
    if isinstance(came, tuple):
        return f"({', '.join(map(kind_of, came))})" if len(came) < 5 else f"a tuple of {len(came)}"
    return "None" if came is None else f"{type(came).__name__} {shown(came)}"


def pair(came: Any, what: str) -> Any:
    """Return the first of (what is wanted, state)."""
    fine = isinstance(came, tuple) and len(came) == 2
    want(fine, f"a pair ({what}, state)", came)
    return came[0] if isinstance(came, tuple) else None


def vector(came: Any, size: int, what: str) -> None:
    fine = isinstance(came, Tensor) and came.dtype == torch.float32 and came.shape == (size,)
    want(fine, f"{what} as a tensor float32 [{size}]", came)


def number(came: Any, what: str, least: float = 0.0) -> None:
    real = isinstance(came, int | float | np.number) and not isinstance(came, bool)
    fine = real and isfinite(came) and came >= least
    want(fine, f"{what}, a finite number of at least {least:g}", came)
