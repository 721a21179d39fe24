"""Deep Leakage from Gradients: rebuild a batch and its labels together.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Algorithm 1. arXiv:1906.08935
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.labels import known_labels
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.distances import squared
from .search.engine import Budget, Problem, Variables, by_lbfgs
from .search.gradients import gradients_of, refuse_unsearchable
from .search.lbfgs import LBFGS
from .search.starts import Init, dummy_inputs, refuse_boundless


@dataclass(frozen=True)
class DLG:
    """Search inputs and soft labels whose gradient is the client's, by L-BFGS.

    Passive. Where labels are known, the inputs alone are searched, one of each label. Works best on smooth
    activations (the second derivative of ReLU is 0 almost everywhere) and on models that have not been
    trained for long. ``cost`` is relative: ||g - G||^2 / ||G||^2.

    The defaults are the authors'. On smooth models ``line_search = true``, ``init = "uniform"`` and a few
    restarts are much stronger, most of all once the model has been trained.

    Attributes:
        max_iterations: L-BFGS iterations of up to 20 steps each, at least 1.
        lr: Step size of L-BFGS, above 0.
        history: Past steps that L-BFGS remembers, at least 1.
        line_search: Whether each step meets the strong Wolfe conditions (the authors search no line):
            surer on smooth models, worse on ReLU.
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, at least 0.
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

    preference: ClassVar[int] = 2
    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        self._budget()
        self._lbfgs()

    def check(self, observation: Observation) -> None:
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
        batch_size, target = observation.knowledge.batch_size or 0, observation.gradient()
        labels = known_labels(observation)
        gradients = gradients_of(observation)
        distance = squared(target, target != 0 if self.masked else None)

        def cost(variables: Variables) -> Tensor:
            x, *q = variables  # [R, B, ...], [R, B, C] of soft labels unless they are known
            return distance(gradients(x, q[0].softmax(dim=2) if labels is None else labels))

        def draw() -> Variables:
            x = dummy_inputs(observation, batch_size, self.init, generator)
            if labels is not None:
                return (x,)
            q = generator.standard_normal((batch_size, observation.num_classes))
            return x, torch.from_numpy(q).float()

        starts = [draw() for _ in range(self.restarts)]
        found = by_lbfgs(Problem(cost), starts, self._lbfgs(), self._budget())
        x, *q = found.variables
        y = q[0].argmax(dim=1) if labels is None else labels
        return Reconstruction(
            x, y, found.cost, found.trace, found.stopped, found.details, progress=found.progress
        )
