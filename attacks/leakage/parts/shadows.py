"""Shadow updates: what a client would have sent that had trained on records that an attacker knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad

from .record_gradients import attacked_copy, losses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ....core.leakage_knowledge import Records
    from ....core.observation import Observation

_STEP = 1e-3  # of a gradient, which moves no model


def drawn(candidates: int, size: int, least: int, shadows: int, stream: np.random.Generator) -> Tensor:
    """Return which candidates each shadow trains on: half of them, or as many as it takes examples.

    Each candidate is in at least ``least`` shadows, and the shadows are at least ``shadows``.

    Args:
        candidates: H, at least 2.
        size: Examples of the client.
        least: Of shadows with a candidate.
        shadows: Of all of them.
        stream: Where they are drawn from.

    Returns:
        Booleans.  # [S, H]
    """
    inside = max(1, min(size, candidates // 2))
    groups = math.ceil(candidates / inside)
    rows = []
    for _ in range(max(least, math.ceil(shadows / groups))):
        order = stream.permutation(candidates)
        places = np.arange(groups * inside).reshape(groups, inside) % candidates
        chosen = np.zeros((groups, candidates), dtype=bool)
        np.put_along_axis(chosen, order[places], True, axis=1)
        rows.append(chosen)
    return torch.from_numpy(np.concatenate(rows))


def shadow_updates(
    observation: Observation, chosen: Tensor, stream: np.random.Generator
) -> tuple[Tensor, nn.Module]:
    """Return the updates of clients that trained on these candidates, and auxiliary records beside them.

    Each takes the client's number of steps of SGD, with its momentum and weight decay where they are told, on
    all of its records; of a gradient one step of 1e-3.

    Args:
        observation: Whose candidates and auxiliary records are known, and how the client trains.
        chosen: Which candidates, bool.  # [S, H]
        stream: Where auxiliary records are drawn from.

    Returns:
        Updates [S, P], and a copy of the model in evaluation mode, before them.
    """
    known, model = observation.knowledge, attacked_copy(observation)
    candidates, auxiliary = known.candidates, known.auxiliary
    assert candidates is not None, "refuse_unmet saw some"
    size, steps, lr = known.batch_size or 1, known.local_steps or 1, step_of(observation)
    kept, decay = known.momentum or 0.0, known.weight_decay or 0.0
    named = dict(model.named_parameters())
    start = {slot.name: named[slot.name].detach() for slot in observation.layout.parameters}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return losses(lambda z: functional_call(model, values, (z,)), x, y).mean()

    found = []
    for row in chosen:
        x, y = candidates.x[row], candidates.y[row]
        if (missing := size - len(y)) > 0 and auxiliary is not None:
            x, y = _filled(x, y, auxiliary, missing, stream)
        values, velocity = start, {name: torch.zeros_like(value) for name, value in start.items()}
        for _ in range(steps):
            slopes = grad(loss)(values, x, y)
            velocity = {name: kept * v + slopes[name] + decay * values[name] for name, v in velocity.items()}
            values = {name: value - lr * velocity[name] for name, value in values.items()}
        found.append(torch.cat([(values[name] - start[name]).flatten() for name in start]))
    return torch.stack(found), model


def step_of(observation: Observation) -> float:
    """Return the size of a client's step; of a gradient 1e-3, and where none is told."""
    known = observation.knowledge
    told = known.lr if known.local_lr is None else known.local_lr
    return _STEP if observation.kind == "gradient" or told is None else told


def _filled(
    x: Tensor, y: Tensor, auxiliary: Records, missing: int, stream: np.random.Generator
) -> Sequence[Tensor]:
    picks = torch.from_numpy(stream.choice(len(auxiliary.y), missing, replace=missing > len(auxiliary.y)))
    return torch.cat([x, auxiliary.x[picks]]), torch.cat([y, auxiliary.y[picks]])
