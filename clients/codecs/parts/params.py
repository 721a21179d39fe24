"""The parameters that a round's clients began from, lying as a message's tensors do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from ....core.layout import Layout
    from .packing import Array


def params_of(layout: Layout, params: Tensor | None) -> Array | None:
    """Return parameters [P] as often as a message [M] has room for, float32; None where they do not fit.

    A message of several groups (an update and a control variate) repeats the model's tensors end to end.
    """
    total = layout.num_parameters
    if params is None or not len(params) or total % len(params) or not bool(params.isfinite().all()):
        return None
    return np.tile(params.detach().cpu().numpy().astype(np.float32), total // len(params))
