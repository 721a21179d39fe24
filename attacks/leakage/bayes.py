"""The approximately Bayes-optimal adversary: the likeliest images behind a message that was defended.

Source: Balunovic, Dimitrov, Staab, Vechev. Bayesian Framework for Gradient Leakage. ICLR 2022, Sections 3 and
4, arXiv:2111.04706 (Gaussian and Laplace noise, pruning). Leaving out what follows a bottleneck: Scheliga,
Maeder, Seeland. Combining Variational Modeling with Partial Gradient Perturbation to Prevent Deep Gradient
Leakage, arXiv:2208.04767 (abstract). The other likelihoods are ours: ``search/likelihoods.py``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.labels import only_label, refuse_untold_labels
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.adam import AdamSearch
from .search.engine import Budget, Problem, Variables, by_adam
from .search.gradients import gradients_of, refuse_unsearchable
from .search.likelihoods import LIKELIHOODS, Likelihood, counted, misfit
from .search.priors import clamp_to, total_variation
from .search.starts import Init, dummy_inputs, refuse_boundless


@dataclass(frozen=True)
class Bayes:
    """Search the inputs that are likeliest, given what a client's defense does to what it lets out.

    Passive. What is known of the defense is which kind it is, from the public configuration: the size of its
    noise follows from the message. Differences of neighbouring pixels are expected to be small:
    p(x) ~ exp(-tv sum |difference|). Of one
    example the label is read from the last layer where it is not told; of several the labels must be told.
    ``cost`` is -log p(message | x) times 2 / P, without the prior, and may be below 0.

    Attributes:
        likelihood: How the message was blurred: "gaussian" noise; "laplace" noise, or noise on some entries
            alone (``outpost``, ``graddefense``), since it forgives a few large residuals; "direction": its
            size says nothing; "orthogonal": each tensor is as long as the gradient's and orthogonal to it
            (``censor``).
        masked: Whether entries that are 0 in the message count for nothing: they were taken away.
        skip: Parts of tensors' paths, such as "precode": a tensor with one of them counts for nothing.
        tv: One over the size that is expected of a difference between neighbouring pixels, at least 0; 0
            expects nothing. Near 3 for digits, 20 for photographs.
        max_iterations: Steps of signed Adam, at least 1.
        lr: Their size, in units of the inputs, above 0; a tenth after 3/8, 5/8 and 7/8 of the run.
        restarts: Random starts, at least 1; the one of least cost wins.
        init: Start evenly over the range of values ("uniform") or from N(0, 1) ("normal").
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
    """

    likelihood: Likelihood = "gaussian"
    masked: bool = False
    skip: tuple[str, ...] = ()
    tv: float = 3.0
    max_iterations: int = 500
    lr: float = 0.1
    restarts: int = 1
    init: Init = "uniform"
    max_seconds: float | None = None

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
        self._adam()
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}; got '{self.likelihood}'")
        if not 0 <= self.tv < float("inf"):
            raise ValueError(f"tv must be at least 0 and finite, got {self.tv}")

    def check(self, observation: Observation) -> None:
        refuse_untold_labels(observation, "Bayes")
        refuse_boundless(observation.value_range, self.init)
        names = [slot.name for slot in observation.layout.parameters]
        counts, unknown = counted(observation.update, observation.layout, False, self.skip)
        if unknown or not bool(counts.any()):
            why = (
                f"no tensor has {', '.join(map(repr, unknown))} in its path" if unknown else "nothing is left"
            )
            raise PluginError(f"Bayes cannot skip what it is told to: {why}; tensors: {', '.join(names)}")
        refuse_unsearchable(observation)

    def _budget(self) -> Budget:
        return Budget(self.max_iterations, 0.0, self.restarts, self.max_seconds)

    def _adam(self) -> AdamSearch:
        return AdamSearch(self.lr)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        batch_size, target = observation.knowledge.batch_size or 0, observation.gradient()  # [P]
        labels = only_label(observation, target)  # [B]
        gradients, layout = gradients_of(observation), observation.layout
        counts, _ = counted(target, layout, self.masked, self.skip)
        distance = misfit(self.likelihood, target, counts, layout)
        pixels = batch_size * math.prod(observation.input_shape)
        weight = 2 * self.tv * pixels / max(1, int(counts.sum()))

        def cost(variables: Variables) -> Tensor:
            return distance(gradients(variables[0], labels))

        def prior(variables: Variables, _: float) -> Tensor:
            return weight * total_variation(variables[0])

        def project(variables: Variables) -> None:
            clamp_to(variables[0], observation.value_range)

        starts = [
            (dummy_inputs(observation, batch_size, self.init, generator),) for _ in range(self.restarts)
        ]
        for (x,) in starts:
            clamp_to(x, observation.value_range)
        found = by_adam(Problem(cost, prior, project), starts, self._adam(), self._budget())
        return found.reconstruction(labels)
