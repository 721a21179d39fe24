"""Read trap weights: of a row that one example alone activates, the gradients give that example.

Source: Boenisch, Dziedzic, Schuster, Shamsabadi, Shumailov, Papernot. When the Curious Abandon Honesty:
Federated Learning Is Not Private. EuroS&P 2023. arXiv:2112.02918. That rows which agree come first is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction, rounding
from .first_layer import first_layer
from .labels import batch_labels, refuse_unreadable_label
from .ratios import Ratios, batch_of, inside, ratios
from .requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class TrapRows:
    """Rebuild the examples that are alone in some row, also out of a sum over clients.

    For what clients of the server ``trap_weights`` send after one step. The step size cancels. Rows of one
    example agree, and rows of several hardly ever do: those on which most rows agree come first, then such as
    lie within the inputs' range, by how far they moved. What is missing is filled with their mean.

    ``details``: ``rows`` (that moved), ``agreed`` (examples on which two rows or more agree) and
    ``predicted_mse`` (the median of what float32 alone leaves in these, in the units of the inputs). ``cost``
    is the share of the examples asked for on which no two rows agree.
    """

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, object]] = {"server": "trap_weights", "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "lr")
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def check(self, observation: Observation) -> None:
        first_layer(observation, "TrapRows")
        refuse_unreadable_label(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        moved = moved_rows(observation)
        found = moved.only(inside(moved, observation.value_range))
        chosen, agreeing = _distinct(found, observation.value_range)
        x = batch_of(found.x[chosen], observation)
        agreed = int((agreeing > 1).sum())
        details = {"rows": float(len(moved.x)), "agreed": float(agreed)}
        if agreed:
            details["predicted_mse"] = float(found.predicted_mse[chosen[:agreed]].median())
        cost = 1 - min(agreed, len(x)) / len(x)
        stopped = "closed_form" if bool(x.isfinite().all()) else "nan"
        return Reconstruction(x, batch_labels(observation, x), cost, (cost,), stopped, details)


def moved_rows(observation: Observation) -> Ratios:
    """Return what the first layer's rows give that moved, in units of the inputs."""
    prefix, slope, offset = first_layer(observation, "TrapRows")
    moved = observation.layout.views(observation.update.double())
    blurred = observation.layout.views(rounding(observation).square())
    weight, bias = f"{prefix}weight", f"{prefix}bias"
    found = ratios(moved[weight], moved[bias], blurred[weight], blurred[bias])
    scaled = found.predicted_mse / slope.square().mean()
    return replace(found, x=(found.x - offset) / slope, predicted_mse=scaled)


def _distinct(found: Ratios, value_range: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return one row of each input, the surest first, and how many rows agree on it.  # [m], [m]"""
    if not len(found.x):
        return found.rows, found.rows
    low, high = value_range
    far = torch.cdist(found.x, found.x).square() / found.x.shape[1]  # [n, n]
    noise = found.predicted_mse[:, None] + found.predicted_mse
    bounded = high - low if high - low < torch.inf else 1.0
    alike = far <= 9 * noise + (1e-4 * bounded) ** 2
    count = alike.sum(dim=1)
    order = sorted(range(len(count)), key=lambda i: (-int(count[i]), -float(found.weight[i])))
    chosen: list[int] = []
    taken = torch.zeros(len(count), dtype=torch.bool)
    for place in order:
        if not taken[place]:
            chosen.append(place)
            taken |= alike[place]
    picked = torch.tensor(chosen)
    return picked, count[picked]
