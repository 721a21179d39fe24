"""What a task must hand back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .contracts.tasks import ClassScore, Measured, OutputScore
from .wanted import is_plain, want


def shaped(came: Any, *_: object) -> None:
    """Look at the shape of what a model puts out for one example."""
    fine = isinstance(came, tuple | list) and len(came) > 0
    fine = fine and all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in came)
    want(fine, "the shape of one example's outputs: at least one whole number, each above 0", came)


def lost(came: Any, _: object, outputs: Tensor, __: object) -> None:
    """Look at the losses of some examples."""
    fine = isinstance(came, Tensor) and came.is_floating_point() and came.shape == outputs.shape[:1]
    want(fine, f"one loss for each of {len(outputs)} examples, as floats", came)


def answered(came: Any, outputs: Tensor) -> None:
    """Look at what is kept of some examples' outputs."""
    fine = is_plain(came) and came.dtype in (torch.int64, torch.float32) and came.ndim > 0
    fine = fine and len(came) == len(outputs)
    want(fine, f"int64 or float32, an answer for each of {len(outputs)} examples", came)


def measured(came: Any, *_: object) -> None:
    """Look at what was measured."""
    want(isinstance(came, Measured), "a Measured", came)
    fine = came.accuracy is None or _is_number(came.accuracy)
    want(fine, "accuracy as a number, or None", came.accuracy)
    fine = isinstance(came.metrics, Mapping) and all(map(_is_number, came.metrics.values()))
    want(fine, "metrics as numbers by name", came.metrics)
    for rows, kind in ((came.classes, ClassScore), (came.outputs, OutputScore)):
        fine = isinstance(rows, tuple) and all(isinstance(one, kind) for one in rows)
        want(fine, f"a tuple of {kind.__name__}", rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


REPLIES: Mapping[str, Callable[..., None]] = {
    "outputs": shaped,
    "loss": lost,
    "answer": answered,
    "measure": measured,
}
"""From a verb to what it is held to."""
