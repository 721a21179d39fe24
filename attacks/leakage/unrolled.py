"""Inverting Gradients for federated averaging: inputs whose simulated local steps make the client's update.

Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients - How easy is it to break privacy in
federated learning? NeurIPS 2020. arXiv:2003.14053
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .inverting_gradients import InvertingGradients
from .parts.labels import known_labels
from .parts.requirements import refuse_unmet
from .search.aware import Objective, aware
from .search.descent import descent_of
from .search.distances import cosine
from .search.engine import Variables
from .search.starts import Init
from .search.unrolled import LocalSGD, descents_of


@dataclass(frozen=True)
class Unrolled:
    """Search inputs by the cosine between the client's update and that of local training on them.

    Passive. Every local step is simulated, with the client's step size, momentum, weight decay and batches.
    Where a batch is not all of the client's examples, who is in it is more than a server can know: results
    say so. Time and memory grow with the number of steps; ``sme`` costs as much as one. ``cost`` is
    1 - <u, U> / (||u|| ||U||), without the total variation.

    Attributes:
        max_iterations: Steps of Adam, at least 1.
        lr: Their size, in units of the inputs, above 0.
        tv: Weight of the total variation of images at the first and at the last step, at least 0 each.
        signed: Whether Adam sees signs of gradients alone.
        decays: Whether steps are a tenth after 3/8, 5/8 and 7/8 of the run.
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
        init: Start evenly over the range of values ("uniform") or from N(0, 1) ("normal").
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        objective: ``"auto"``: what the codec says of its frame, where it says something, in the place of the
            cosine; ``"plain"``: the cosine with what the frame decodes to.
    """

    max_iterations: int = 300
    lr: float = 0.1
    tv: tuple[float, float] = (1e-5, 1e-5)
    signed: bool = True
    decays: bool = True
    restarts: int = 1
    tolerance: float = 0.0
    init: Init = "uniform"
    max_seconds: float | None = None
    objective: Objective = "auto"

    requires: ClassVar[Mapping[str, Level]] = dict.fromkeys(
        (
            "batch_size",
            "labels",
            "local_steps",
            "local_lr",
            "optimizer",
            "momentum",
            "weight_decay",
            "batches",
        ),
        Level.EXACT,
    )
    assumes: ClassVar[Mapping[str, object]] = {"optimizer": "sgd", "loss": "cross_entropy"}
    uses: ClassVar[tuple[str, ...]] = ("codec",)
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        descent_of(self)

    def check(self, observation: Observation) -> None:
        InvertingGradients(init=self.init).check(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        known, labels = observation.knowledge, known_labels(observation)
        assert labels is not None
        steps = known.local_lr or 0.0, known.momentum or 0.0, known.weight_decay or 0.0, known.batches or ()
        descents = descents_of(observation, LocalSGD(*steps))
        distance = aware(observation, self.objective, cosine(-observation.update))

        def cost(variables: Variables) -> Tensor:
            return distance(descents(variables[0], labels))

        found = descent_of(self).search(observation, len(labels), cost, generator)
        return found.reconstruction(labels)
