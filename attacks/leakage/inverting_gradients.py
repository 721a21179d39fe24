"""Inverting Gradients: images whose gradient points where the client's does, and that are smooth.

Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients - How easy is it to break privacy in
federated learning? NeurIPS 2020, Equation 4. arXiv:2003.14053. That the weight of the total variation falls
during the run, and that it never counts much beside the cosine, is ours: on ReLU networks a constant weight
is either too weak at first or too strong at last, and on smooth ones, where the cost falls to 0, any is. That
steps shrink along half a cosine is ours too: measured against the authors' schedule in docs/leakage.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.label_rules import LabelRule, labels_by, refuse_unruly
from .parts.labels import one_or_told, only_label, refuse_untold_labels
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.adam import Schedule
from .search.aware import Objective, aware
from .search.descent import descent_of
from .search.distances import cosine
from .search.engine import Variables
from .search.ghosts import ghost_cosine
from .search.gradients import gradients_of, refuse_unsearchable
from .search.layerwise import layerwise
from .search.starts import Init, refuse_boundless

Angle = Literal["cosine", "cosine_layerwise"]


@dataclass(frozen=True)
class InvertingGradients:
    """Search inputs by the cosine between gradients, with total variation, inside the range of values.

    Passive. Works on ReLU networks too. The step size cancels, so it need not be known. Of one example the
    label is read from the last layer where it is not told; of several they are told, or read by
    ``labels``. ``cost`` is 1 - <g, G> / (||g|| ||G||), without the total variation.

    Attributes:
        max_iterations: Steps of Adam, at least 1.
        lr: Their size, in units of the inputs, above 0.
        tv: Weight of the total variation of images at the first and at the last step, at least 0 each; it
            falls geometrically.
        tv_bound: How many times the cost the total variation, times its weight, counts at most, above 0, or
            None (the authors'): so that it vanishes where the cost does, as on smooth networks.
        signed: Whether Adam sees signs of gradients alone, as the authors' does.
        decays: Whether steps shrink during the run.
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
        init: Start evenly over the range of values ("uniform") or from N(0, 1) ("normal", the authors').
        masked: Whether entries that are 0 in the message are left out of the cosine: the adaptive attacker
            against client defenses that zero entries (``gradient_pruning``, ``soteria``), and sparse codecs.
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        objective: ``"auto"``: what the codec says of its frame, where it says something, in the place of the
            cosine (``cost`` too); ``"plain"``: the cosine with what the frame decodes to, in any case.
        labels: By what the labels of several examples are read where they are not told: ``"ilrg"``,
            ``"bias_counts"``, ``"llg"`` or ``"gradinversion"``; None: they must be told.
        distance: ``"cosine"``, of all parameters as one vector, or ``"cosine_layerwise"``, the mean over
            tensors (LAMP's), which is ``cost`` then.
        schedule: How steps shrink: along half a cosine ("cosine"), or to a tenth after 3/8, 5/8 and 7/8 of
            the run ("steps", the authors').
    """

    max_iterations: int = 300
    lr: float = 0.1
    tv: tuple[float, float] = (0.1, 0.005)
    signed: bool = True
    decays: bool = True
    restarts: int = 1
    tolerance: float = 0.0
    init: Init = "uniform"
    masked: bool = False
    max_seconds: float | None = None
    objective: Objective = "auto"
    tv_bound: float | None = 0.3
    labels: LabelRule | None = None
    distance: Angle = "cosine"
    schedule: Schedule = "cosine"

    preference: ClassVar[int] = 3
    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "codec", "lr")
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        descent_of(self)
        if self.distance not in get_args(Angle):
            allowed = ", ".join(get_args(Angle))
            raise ValueError(f"distance must be one of {allowed}, got {self.distance!r}")
        if self.labels is not None and self.labels not in get_args(LabelRule):
            allowed = ", ".join(get_args(LabelRule))
            raise ValueError(f"labels must be one of {allowed}, or None, got {self.labels!r}")

    def check(self, observation: Observation) -> None:
        if one_or_told(observation) or self.labels is None:
            refuse_untold_labels(observation, "InvertingGradients", ", and labels = 'ilrg' reads them")
        else:
            refuse_unruly(self.labels, observation)
        refuse_boundless(observation.value_range, self.init)
        refuse_unsearchable(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        batch_size, target = observation.knowledge.batch_size or 0, -observation.update  # [P]
        rule = None if one_or_told(observation) else self.labels
        labels = only_label(observation, target) if rule is None else labels_by(rule, observation)  # [B]
        gradients = gradients_of(observation)
        counts = target != 0 if self.masked else None
        plain = cosine(target, counts)
        if self.distance != "cosine":
            plain = layerwise(self.distance, target, observation.layout, counts)
        distance = aware(observation, self.objective, plain, counts)
        whole = distance is plain and self.distance == "cosine" and counts is None
        ghost = ghost_cosine(observation, target) if whole else None

        def cost(variables: Variables) -> Tensor:
            (x,) = variables  # [R, B, ...]
            return distance(gradients(x, labels)) if ghost is None else ghost(x, labels)

        found = descent_of(self).search(observation, batch_size, cost, generator)
        return found.reconstruction(labels)
