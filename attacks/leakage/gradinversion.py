"""GradInversion, lite: gradients, the statistics that batch norms keep, and several seeds that agree.

Source: Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov. See through Gradients: Image Batch Recovery via
GradInversion. CVPR 2021, Equations 3 to 12. arXiv:2104.07586. A reconstruction: terms, weights' ratios and
noise follow a summary of the paper; seeds agree on their plain mean (the paper's "lazy" consensus), without
registering images. Statistics of the client's own batch, read from the buffers that it sends, are ours.
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
from .search.descent import descent_of
from .search.distances import cosine
from .search.engine import Variables
from .search.gradients import gradients_of, refuse_unsearchable
from .search.layerwise import layerwise
from .search.starts import Init, refuse_boundless
from .search.statistics import (
    Origin,
    expected_statistics,
    refuse_unknown_statistics,
    statistics_misfit,
)

Match = Literal["norm", "cosine"]


@dataclass(frozen=True)
class GradInversion:
    """Search inputs by gradients, batch norms' statistics and smoothness, from several seeds that stay close.

    Passive. For models with batch norms that keep running statistics; others are refused. A client that sends
    its buffers, as federated averaging does, sends with them the mean and variance of its own batch at every
    batch norm. Labels are told, or read by a rule. ``cost`` is the distance of gradients alone.

    Attributes:
        max_iterations: Steps of Adam, at least 1.
        lr: Their size, in units of the inputs, above 0.
        restarts: Seeds that are searched together, at least 1 (the paper's |G| is 8); the one of least cost
            wins.
        distance: ``"cosine"``, as for ``inverting_gradients``; or ``"norm"``: the sum over tensors of
            ||g - G||, over that of ||G|| (the paper's).
        statistics: Where the statistics come from: ``"running"``, the public model; ``"sent"``, the buffers
            that the client sent; ``"auto"``: these where there are any.
        bn: Weight of the distance of statistics, at least 0.
        tv: Weight of the total variation at the first and at the last step, at least 0 each; it falls
            geometrically.
        size: Weight of the inputs' root mean square, at least 0.
        group: Weight of a seed's root mean square distance from the seeds' mean, at least 0.
        noise: Standard deviation of the noise on each step (Langevin's), in units of its size, at least 0
            (the paper's is 0.2).
        signed: Whether Adam sees signs of gradients alone.
        decays: Whether steps shrink during the run.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
        init: Start from N(0, 1) ("normal") or evenly over the range of values ("uniform").
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        labels: By what labels are read where they are not told: ``"gradinversion"``, each class at most once,
            ``"ilrg"``, ``"bias_counts"`` or ``"llg"``; of one example it is read as ``idlg`` does.
        schedule: How steps shrink, as for ``inverting_gradients``.
    """

    max_iterations: int = 300
    lr: float = 0.1
    restarts: int = 2
    distance: Match = "cosine"
    statistics: Origin = "auto"
    bn: float = 0.1
    tv: tuple[float, float] = (0.1, 0.005)
    size: float = 0.001
    group: float = 0.01
    noise: float = 0.0
    signed: bool = True
    decays: bool = True
    tolerance: float = 0.0
    init: Init = "uniform"
    max_seconds: float | None = None
    labels: LabelRule = "gradinversion"
    schedule: Schedule = "cosine"

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        descent_of(self)
        for name in ("bn", "size", "group"):
            if not 0 <= (got := getattr(self, name)) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {got}")
        for name, kind in (
            ("distance", Match),
            ("statistics", Origin),
            ("labels", LabelRule),
        ):
            if (got := getattr(self, name)) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {got!r}")

    def check(self, observation: Observation) -> None:
        refuse_unknown_statistics(observation, self.statistics)
        if one_or_told(observation):
            refuse_untold_labels(observation, "GradInversion")
        else:
            refuse_unruly(self.labels, observation)
        refuse_boundless(observation.value_range, self.init)
        refuse_unsearchable(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        batch_size, target = observation.knowledge.batch_size or 0, observation.gradient()  # [P]
        one = batch_size == 1
        labels = only_label(observation, target) if one else labels_by(self.labels, observation)  # [B]
        gradients = gradients_of(observation)
        matched = (
            cosine(target) if self.distance == "cosine" else layerwise("norm", target, observation.layout)
        )
        statistics = expected_statistics(observation, self.statistics)
        misfit = statistics_misfit(observation, statistics)

        def cost(variables: Variables) -> Tensor:
            return matched(gradients(variables[0], labels))

        def further(variables: Variables) -> Tensor:
            (x,) = variables  # [R, B, ...]
            apart = self.group * distance_from_consensus(x) + self.size * _rms(x)
            return apart + self.bn * misfit(x) if self.bn else apart

        found = descent_of(self).search(observation, batch_size, cost, generator, further=further)
        return found.reconstruction(labels)


def distance_from_consensus(x: Tensor) -> Tensor:
    """Return the root mean square distance of each seed's inputs [R, B, ...] from their mean, which is fixed.

    # [R]
    """
    return _rms(x - x.detach().mean(dim=0))


def _rms(x: Tensor) -> Tensor:
    """Return each search's root mean square, of values [R, ...]; its slope at 0 is 0.  # [R]"""
    return (x.flatten(1).square().mean(dim=1) + 1e-12).sqrt()
