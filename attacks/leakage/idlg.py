"""Improved Deep Leakage from Gradients: read the label in closed form, then search the input alone.

Source: Zhao, Mopuri, Bilen. iDLG: Improved Deep Leakage from Gradients. 2020, Algorithm 1. arXiv:2001.02610
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .dlg import DLG, Optimizer, Size
from .parts.labels import only_label, refuse_unreadable_label
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.aware import Objective
from .search.starts import Init


@dataclass(frozen=True)
class IDLG:
    """Rebuild one example whose label is read from the gradient, or known; then search as ``DLG`` does.

    Passive. One example a step only: more are refused. A known label is taken as it is. The defaults are the
    authors'; see ``DLG`` for those that are recommended.

    Attributes:
        optimizer: ``"lbfgs"`` (the authors') or ``"levenberg_marquardt"``, on each entry of the gradient.
        max_iterations: L-BFGS iterations of up to 20 steps each, or steps of Levenberg-Marquardt, at least 1.
        lr: Step size of L-BFGS, above 0.
        history: Past steps that L-BFGS remembers, at least 1.
        line_search: Whether each step of L-BFGS meets the strong Wolfe conditions (the authors search no
            line): surer on smooth models, worse on ReLU.
        restarts: Random starts, at least 1; the one of least cost wins. L-BFGS takes them side by side,
            Levenberg-Marquardt one after the other until one has converged, or stands still at rounding.
        tolerance: The relative cost at which the search has converged, at least 0.
        init: Start from N(0, 1) ("normal", the authors') or evenly over the range of values ("uniform").
        masked: Whether entries that are 0 in the message are left out of the distance: the adaptive attacker
            against client defenses that zero entries (``gradient_pruning``, ``soteria``), and sparse codecs.
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        distance, warm_up: As for ``DLG``.
        objective: ``"plain"``: the distance from what the frame decodes to (the authors'); ``"auto"``: for
            L-BFGS what the codec says of its frame, where it says something (``cost`` too).
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
    optimizer: Optimizer = "lbfgs"
    distance: Size = "l2"
    objective: Objective = "plain"
    warm_up: int = 0

    preference: ClassVar[int] = 1
    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "codec", "privacy")
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        self._dlg()

    def check(self, observation: Observation) -> None:
        refuse_unreadable_label(observation)
        self._dlg().check(_with_label(observation, 0))

    def _dlg(self) -> DLG:
        return DLG(**{one.name: getattr(self, one.name) for one in fields(self)})

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        label = only_label(observation, observation.gradient())  # [1]
        return self._dlg().reconstruct([_with_label(observation, int(label))], generator)


def _with_label(observation: Observation, label: int) -> Observation:
    return replace(observation, knowledge=replace(observation.knowledge, batch_size=1, labels=(label,)))
