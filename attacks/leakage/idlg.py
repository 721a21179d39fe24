"""Improved Deep Leakage from Gradients: read the label in closed form, then search the input alone.

Source: Zhao, Mopuri, Bilen. iDLG: Improved Deep Leakage from Gradients. 2020, Algorithm 1. arXiv:2001.02610
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.labels import only_label, refuse_unreadable_label
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.matching import Init, Search, best_of, dummy_inputs, gradient_distance, refuse_unsearchable


@dataclass(frozen=True)
class IDLG:
    """Rebuild one example whose label is read from the gradient, or known, by L-BFGS.

    Passive. One example a step only: more are refused. A known label is taken as it is. The defaults are the
    authors'; see ``DLG`` for stronger ones.

    Attributes:
        max_iterations: L-BFGS iterations of up to 20 steps each, at least 1.
        lr: Step size of L-BFGS, above 0.
        history: Past steps that L-BFGS remembers, at least 1.
        line_search: Whether each step meets the strong Wolfe conditions (the authors search no line):
            surer on smooth models, worse on ReLU.
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The relative cost at which the search has converged, at least 0.
        init: Start from N(0, 1) ("normal", the authors') or evenly over the range of values ("uniform").
        masked: Whether entries that are 0 in the message are left out of the distance: the adaptive attacker
            against client defenses that zero entries (``gradient_pruning``, ``soteria``), and sparse codecs.
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
    """

    max_iterations: int = 300
    lr: float = 1.0
    history: int = 100
    line_search: bool = False
    restarts: int = 1
    tolerance: float = 1e-10
    init: Init = "normal"
    max_seconds: float | None = None
    masked: bool = False

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        self._search()

    def check(self, observation: Observation) -> None:
        refuse_unreadable_label(observation)
        refuse_unsearchable(observation, self.init)

    def _search(self) -> Search:
        return Search(
            self.max_iterations,
            self.lr,
            self.history,
            self.line_search,
            self.tolerance,
            self.restarts,
            self.max_seconds,
        )

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        label = only_label(observation, observation.gradient())  # [1]
        distance = gradient_distance(observation, self.masked)

        def cost(variables: Sequence[Tensor]) -> Tensor:
            return distance(variables[0], label)

        def draw() -> tuple[Tensor]:
            return (dummy_inputs(observation, 1, self.init, generator),)

        found, details = best_of(cost, draw, self._search())
        return Reconstruction(found.variables[0], label, found.cost, found.trace, found.stopped, details)
