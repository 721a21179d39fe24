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
from .parts.first_layer import first_layer
from .parts.labels import batch_labels, refuse_unreadable_label
from .parts.ratios import Ratios, batch_of, inside, ratios
from .parts.requirements import PLAIN_STEP, refuse_unmet


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

    exact: ClassVar[bool] = True
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
        agreed = 0 if observation.lossy else int((agreeing > 1).sum())
        details = {"rows": float(len(moved.x)), "agreed": float(agreed)}
        if agreed:
            details["predicted_mse"] = float(found.predicted_mse[chosen[:agreed]].median())
        cost = 1 - min(agreed, len(x)) / len(x)
        stopped = "closed_form" if agreed else "not_certified"
        stopped = stopped if bool(x.isfinite().all()) else "nan"
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
    """Return one row of each input, the surest first, and how many rows agree on it.  # [m], [m]

    Among those on which no other row agrees, such come first of which most values lie at the ends of the
    range: a mixture has those alone that all of its examples share.
    """
    low, high = value_range
    span = high - low if high - low < torch.inf else 1.0
    far = torch.cdist(found.x, found.x).square() / max(found.x.shape[1], 1)  # [n, n]
    alike = far <= 9 * (found.predicted_mse[:, None] + found.predicted_mse) + (1e-4 * span) ** 2
    count = alike.sum(dim=1)
    at_the_end = ((found.x <= low + 1e-3 * span) | (found.x >= high - 1e-3 * span)).sum(dim=1)
    keys = zip((-count).tolist(), (-at_the_end).tolist(), (-found.weight).tolist(), strict=True)
    chosen: list[int] = []
    taken = torch.zeros(len(count), dtype=torch.bool)
    for _, place in sorted((key, place) for place, key in enumerate(keys)):
        if not taken[place]:
            chosen.append(place)
            taken |= alike[place]
    picked = torch.tensor(chosen, dtype=torch.int64)
    return picked, count[picked]
