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
from .search.distances import squared
from .search.engine import Budget, Problem, Variables, by_lbfgs
from .search.gradients import gradients_of, refuse_unsearchable
from .search.lbfgs import LBFGS
from .search.starts import Init, dummy_inputs, refuse_boundless


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

    preference: ClassVar[int] = 1
    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        self._budget()
        self._lbfgs()

    def check(self, observation: Observation) -> None:
        refuse_unreadable_label(observation)
        refuse_boundless(observation.value_range, self.init)
        refuse_unsearchable(observation)

    def _budget(self) -> Budget:
        return Budget(self.max_iterations, self.tolerance, self.restarts, self.max_seconds)

    def _lbfgs(self) -> LBFGS:
        return LBFGS(self.lr, self.history, self.line_search)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        target = observation.gradient()
        label = only_label(observation, target)  # [1]
        gradients = gradients_of(observation)
        distance = squared(target, target != 0 if self.masked else None)

        def cost(variables: Variables) -> Tensor:
            return distance(gradients(variables[0], label))

        starts = [(dummy_inputs(observation, 1, self.init, generator),) for _ in range(self.restarts)]
        found = by_lbfgs(Problem(cost), starts, self._lbfgs(), self._budget())
        return Reconstruction(
            found.variables[0],
            label,
            found.cost,
            found.trace,
            found.stopped,
            found.details,
            progress=found.progress,
        )
