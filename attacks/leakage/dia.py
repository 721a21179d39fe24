"""Dropout Inversion Attack: Inverting Gradients with every dropout mask of the client as an unknown.

Source: Scheliga, Maeder, Seeland. Dropout is NOT All You Need to Prevent Gradient Leakage. AAAI 2023,
and the authors' code (dAI-SY-Group/DropoutInversionAttack). arXiv:2208.06163
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.dropout import Call
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .inverting_gradients import InvertingGradients
from .parts.labels import only_label
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.aware import Objective, aware
from .search.descent import descent_of
from .search.distances import cosine
from .search.engine import Variables
from .search.masked import mask_calls, masked_gradients_of
from .search.starts import Init


@dataclass(frozen=True)
class DIA:
    """Search inputs and dropout masks together, by the cosine between gradients.

    Passive. Rates and places of dropout are read from the public model; a mask is a number from 0 to 1 for
    each value that a layer drops or keeps, never rounded, and starts as a draw of the layer. Without dropout
    it is ``inverting_gradients`` with ``tv_bound = None, schedule = "steps"``, to the last bit. Labels are
    known, or that of one example is read. ``cost`` is 1 - <g, G> / (||g|| ||G||) alone.

    Attributes:
        max_iterations: Steps of Adam, at least 1 (the authors take up to 20 000).
        lr: Their size for inputs and masks, above 0.
        tv: Weight of the total variation of images at the first and at the last step, at least 0 each.
        mask_weight: The paper's alpha_m, at least 0: what a layer pays for how far the share that its mask
            drops is from its rate.
        signed: Whether Adam sees signs of the inputs' gradients alone; never of the masks'.
        decays: Whether steps are a tenth after 3/8, 5/8 and 7/8 of the run (the authors wait for a plateau).
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
        init: Start evenly over the range of values ("uniform") or from N(0, 1) ("normal", the authors').
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        objective: ``"auto"``: what the codec says of its frame, where it says something, in the place of the
            cosine; ``"plain"``: the cosine with what the frame decodes to.
    """

    max_iterations: int = 1000
    lr: float = 0.1
    tv: tuple[float, float] = (1e-5, 1e-5)
    mask_weight: float = 1e-4
    signed: bool = True
    decays: bool = True
    restarts: int = 1
    tolerance: float = 0.0
    init: Init = "uniform"
    max_seconds: float | None = None
    objective: Objective = "auto"

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "codec")
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        descent_of(self)
        if not 0 <= self.mask_weight < float("inf"):
            raise ValueError(f"mask_weight must be at least 0 and finite, got {self.mask_weight}")

    def check(self, observation: Observation) -> None:
        InvertingGradients(init=self.init).check(observation)
        mask_calls(observation)

    def _without_dropout(self) -> InvertingGradients:
        shared = [f.name for f in fields(self) if f.name != "mask_weight"]
        options = {name: getattr(self, name) for name in shared}
        return InvertingGradients(tv_bound=None, schedule="steps", **options)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        if not (calls := mask_calls(observation)):
            return self._without_dropout().reconstruct(observations, generator)
        batch_size, target = observation.knowledge.batch_size or 0, -observation.update  # [P]
        labels = only_label(observation, target)  # [B]
        distance = aware(observation, self.objective, cosine(target))
        gradients = masked_gradients_of(observation)

        def cost(variables: Variables) -> Tensor:
            x, *masks = variables
            return distance(gradients(x, masks, labels))

        def prior(variables: Variables) -> Tensor:
            return self.mask_weight * rate_gap(variables[1:], calls)

        def draw(stream: np.random.Generator) -> Variables:
            shapes = ((call, (batch_size, *call.shape)) for call in calls)
            return tuple(torch.from_numpy(stream.random(s) >= call.rate).float() for call, s in shapes)

        found = descent_of(self).search(observation, batch_size, cost, generator, draw, prior)
        return found.reconstruction(labels, mask_values=float(sum(m.numel() for m in found.variables[1:])))


def rate_gap(masks: Sequence[Tensor], calls: Sequence[Call]) -> Tensor:
    """Return the sum over layers of |share that the mask drops - p|, of masks [R, B, ...] each.  # [R]"""
    gaps = [
        (1 - mask.flatten(1).mean(dim=1) - call.rate).abs() for mask, call in zip(masks, calls, strict=True)
    ]
    return torch.stack(gaps).sum(dim=0)
