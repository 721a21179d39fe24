"""Surrogate Model Extension: one gradient, between where a client began and ended, for all local steps.

Source: Zhu, Yao, Blaschko. Surrogate Model Extension (SME): A Fast and Accurate Weight Update Attack on
Federated Learning. ICML 2023, and the authors' code (JunyiZhu-AI/surrogate_model_extension). arXiv:2306.00127
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .inverting_gradients import InvertingGradients
from .parts.labels import known_labels
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.aware import Objective, aware
from .search.descent import descent_of
from .search.distances import cosine
from .search.engine import Variables
from .search.starts import Init
from .search.surrogate import surrogate_gradients_of


@dataclass(frozen=True)
class SME:
    """Search inputs, and the point whose gradient on them is along the client's update, by their cosine.

    Passive. The point is (1 - alpha) times the parameters that were received plus alpha times those that the
    client ended with; alpha is searched too. Needs neither step size nor batches nor the number of steps, and
    takes as long as an attack on one step. A client that is known to have taken one step has its gradient
    where it began: alpha is 0 there. ``cost`` is 1 - <g, G> / (||g|| ||G||), without the total variation.

    Attributes:
        max_iterations: Steps of Adam, at least 1 (the authors: 1000).
        lr: Their size for inputs, above 0.
        alpha: Where alpha begins, between 0 and 1.
        alpha_lr: The size of its steps, at least 0; with 0 it stays (with ``alpha = 0`` all local steps are
            then taken for one).
        tv: Weight of the total variation of images at the first and at the last step, at least 0 each.
        signed: Whether Adam sees signs of the inputs' gradients alone; never of alpha's.
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
    alpha: float = 0.5
    alpha_lr: float = 1e-3
    tv: tuple[float, float] = (1e-5, 1e-5)
    signed: bool = True
    decays: bool = True
    restarts: int = 1
    tolerance: float = 0.0
    init: Init = "uniform"
    max_seconds: float | None = None
    objective: Objective = "auto"

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "labels": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("local_steps", "codec")
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        descent_of(self)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be between 0 and 1, got {self.alpha}")
        if not 0 <= self.alpha_lr < float("inf"):
            raise ValueError(f"alpha_lr must be at least 0 and finite, got {self.alpha_lr}")

    def check(self, observation: Observation) -> None:
        InvertingGradients(init=self.init).check(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        labels, one = known_labels(observation), observation.knowledge.local_steps == 1
        assert labels is not None
        begin = 0.0 if one else self.alpha
        gradients = surrogate_gradients_of(observation)
        distance = aware(observation, self.objective, cosine(-observation.update))

        def cost(variables: Variables) -> Tensor:
            x, *alpha = variables  # [R, B, ...], [R] unless it stays
            return distance(gradients(x, labels, alpha[0] if alpha else x.new_full((len(x),), begin)))

        searched = not one and self.alpha_lr > 0
        descent = descent_of(self, (self.alpha_lr,) if searched else ())
        shares = (lambda _: (torch.tensor(begin),)) if searched else None
        found = descent.search(observation, len(labels), cost, generator, shares)
        alpha = float(found.variables[1]) if searched else begin
        return found.reconstruction(labels, alpha=alpha)
