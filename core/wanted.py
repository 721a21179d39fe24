"""What was wanted and what came, in one line: the words in which replies of plug-ins are refused."""

from math import isfinite
from typing import Any, TypeGuard

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
        words = f"{type(came).__name__} {str(came.dtype).removeprefix('torch.')} {list(came.shape)}"
        return words + (_odd(came) if isinstance(came, Tensor) else "")
    if isinstance(came, tuple):
        return f"({', '.join(map(kind_of, came))})" if len(came) < 5 else f"a tuple of {len(came)}"
    return "None" if came is None else f"{type(came).__name__} {shown(came)}"


def _odd(came: Tensor) -> str:
    """Return in words what keeps a tensor from being one of plain values, and the way out."""
    if came.layout is not torch.strided:
        return f" {str(came.layout).removeprefix('torch.')} (to_dense() makes it plain)"
    if came.is_meta:
        return " on the meta device, without values"
    return " that requires grad (detach() makes it plain)" if came.requires_grad else ""


def is_plain(came: object) -> TypeGuard[Tensor]:
    """Return whether it is a tensor of values and no more: dense, of no subclass, part of no gradient."""
    if type(came) is not Tensor or came.layout is not torch.strided:
        return False
    return not (came.is_meta or came.requires_grad)


def is_word(came: object) -> TypeGuard[str]:
    """Return whether it is a string that can be written down: half a character has no bytes."""
    try:
        return isinstance(came, str) and came.encode() is not None
    except UnicodeEncodeError:
        return False


def is_float(came: object) -> bool:
    """Return whether it is a number, or a plain tensor of one, that a float can hold, NaN included."""
    real = isinstance(came, int | float | np.number) and not isinstance(came, np.complexfloating)
    if not (real or (is_plain(came) and came.numel() == 1 and not came.is_complex())):
        return False
    try:
        float(came)  # type: ignore[arg-type]
    except OverflowError:
        return False
    return True


def pair(came: Any, what: str) -> Any:
    """Return the first of (what is wanted, state)."""
    fine = isinstance(came, tuple) and len(came) == 2
    want(fine, f"a pair ({what}, state)", came)
    return came[0] if isinstance(came, tuple) else None


def vector(came: Any, size: int, what: str) -> None:
    fine = is_plain(came) and came.dtype == torch.float32 and came.shape == (size,)
    want(fine, f"{what} as a tensor float32 [{size}]", came)


def number(came: Any, what: str, least: float = 0.0) -> None:
    real = isinstance(came, int | float | np.number) and not isinstance(came, bool)
    fine = real and isfinite(came) and came >= least
    want(fine, f"{what}, a finite number of at least {least:g}", came)
