"""Deep Leakage from Gradients: rebuild a batch and its labels together.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Algorithm 1. arXiv:1906.08935. That the
same problem is solved by Levenberg-Marquardt, and that labels may be read instead of searched, is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction, rounding
from .parts.label_rules import LabelRule, labels_by, refuse_unruly
from .parts.labels import known_labels
from .parts.requirements import PLAIN_STEP, may_be_clipped, refuse_unmet
from .search.aware import Objective, aware
from .search.distances import residual, squared
from .search.engine import Budget, Found, Problem, Variables, by_lbfgs
from .search.equations import refuse_mixtures, unless_mixtures
from .search.gradients import gradients_of, one_gradient_of, refuse_unsearchable
from .search.layerwise import layerwise
from .search.lbfgs import LBFGS
from .search.least_squares import by_least_squares, refuse_unsolvable
from .search.starts import Init, dummy_inputs, refuse_boundless

Optimizer = Literal["lbfgs", "levenberg_marquardt"]
Size = Literal["l2", "l2_l1", "norm"]


@dataclass(frozen=True)
class DLG:
    """Search inputs and labels whose gradient is the client's.

    Passive. Where labels are known, the inputs alone are searched, one of each label. Works best on smooth
    activations (the second derivative of ReLU is 0 almost everywhere). ``cost`` is relative:
    ||g - G||^2 / ||G||^2, which of a message of zeros is no number (``stopped`` is ``"nan"``). Under a
    privacy mechanism, which may have clipped the message, gradients are brought to its length first.

    The defaults are the authors'. Recommended on smooth models:
    ``optimizer = "levenberg_marquardt", init = "uniform", restarts = 5``, which takes a few steps where
    L-BFGS takes thousands and comes to an end where L-BFGS does not. It needs as many parameters as unknowns
    and memory for the derivative of the ones by the others (see ``refuse_unsolvable``), and follows noise in
    the message further than a search that is not finished does. The labels are soft (a softmax) for L-BFGS,
    as the authors have them, and any numbers of sum 1 for Levenberg-Marquardt: at the truth they are finite,
    and those that fit best are solved for at every step (``search.affine``), unless the message may have been
    clipped.

    Attributes:
        optimizer: ``"lbfgs"`` (the authors') or ``"levenberg_marquardt"``, on each entry of the gradient.
        max_iterations: L-BFGS iterations of up to 20 steps each, or steps of Levenberg-Marquardt, at least 1.
        lr: Step size of L-BFGS, above 0.
        history: Past steps that L-BFGS remembers, at least 1.
        line_search: Whether each step of L-BFGS meets the strong Wolfe conditions (the authors search no
            line): surer on smooth models, worse on ReLU.
        restarts: Random starts, at least 1; the one of least cost wins. L-BFGS takes them side by side,
            Levenberg-Marquardt one after the other until one has converged, or stands still at rounding.
        tolerance: The cost at which the search has converged, at least 0.
        init: Start from N(0, 1) ("normal", the authors') or evenly over the range of values ("uniform").
        masked: Whether entries that are 0 in the message are left out of the distance: the adaptive attacker
            against client defenses that zero entries (``gradient_pruning``, ``soteria``), and sparse codecs.
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        objective: ``"plain"``: the distance from what the frame decodes to (the authors'); ``"auto"``: for
            L-BFGS what the codec says of its frame, where it says something (``cost`` too).
        distance: ``"l2"`` (the authors'); or, by L-BFGS, TAG's ``"l2_l1"`` or GradInversion's ``"norm"``,
            which are ``cost`` then (see ``search.layerwise``).
        warm_up: Iterations of L-BFGS with a line search that each start takes before Levenberg-Marquardt, at
            least 0.
        labels: By what labels that are not told are read: ``"ilrg"``, ``"bias_counts"``, ``"llg"`` or
            ``"gradinversion"``; of one example each is right, as ``idlg`` does. None (the authors'): they
            are searched.
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
    objective: Objective = "plain"
    distance: Size = "l2"
    warm_up: int = 0
    labels: LabelRule | None = None

    preference: ClassVar[int] = 2
    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "codec", "privacy")
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        for option, allowed in (("optimizer", get_args(Optimizer)), ("distance", get_args(Size))):
            if (got := getattr(self, option)) not in allowed:
                raise ValueError(f"{option} must be one of {', '.join(allowed)}, got {got!r}")
        if self.labels is not None and self.labels not in get_args(LabelRule):
            allowed = get_args(LabelRule)
            raise ValueError(f"labels must be one of {', '.join(allowed)}, or None, got {self.labels!r}")
        if self.warm_up < 0 or (self.warm_up and self.optimizer == "lbfgs"):
            raise ValueError(f"warm_up must be at least 0, and 0 with optimizer 'lbfgs', got {self.warm_up}")
        for option, squares in (("objective", "plain"), ("distance", "l2")):
            if self.optimizer != "lbfgs" and (got := getattr(self, option)) != squares:
                raise ValueError(f"{option} {got!r} is no sum of squares: it needs optimizer 'lbfgs'")
        self._budget()
        self._lbfgs()

    def check(self, observation: Observation) -> None:
        refuse_boundless(observation.value_range, self.init)
        refuse_unsearchable(observation)
        read = observation.knowledge.labels is not None or self.labels is not None
        if self.labels is not None:
            refuse_unruly(self.labels, observation)
        if self.optimizer == "levenberg_marquardt":
            refuse_unsolvable(observation, 0 if read else observation.num_classes, self.masked)
            if not read:
                refuse_mixtures(observation)

    def _budget(self) -> Budget:
        return Budget(self.max_iterations, self.tolerance, self.restarts, self.max_seconds)

    def _lbfgs(self) -> LBFGS:
        return LBFGS(self.lr, self.history, self.line_search)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        batch_size, labels = observation.knowledge.batch_size or 0, known_labels(observation)
        if self.labels is not None:
            labels = labels_by(self.labels, observation)

        def draw() -> Variables:
            x = dummy_inputs(observation, batch_size, self.init, generator)
            if labels is not None:
                return (x,)
            q = generator.standard_normal((batch_size, observation.num_classes))
            return x, torch.from_numpy(q).float()

        starts = [draw() for _ in range(self.restarts)]
        search = self._by_lbfgs if self.optimizer == "lbfgs" else self._by_levenberg_marquardt
        found = search(observation, labels, starts)
        return found.reconstruction(found.variables[1].argmax(dim=1) if labels is None else labels)

    def _by_lbfgs(self, observation: Observation, labels: Tensor | None, starts: list[Variables]) -> Found:
        found = by_lbfgs(self._problem(observation, labels), starts, self._lbfgs(), self._budget())
        return unless_mixtures(found, observation, labels is None)

    def _problem(self, observation: Observation, labels: Tensor | None) -> Problem:
        target, gradients = observation.gradient(), gradients_of(observation)
        counts = target != 0 if self.masked else None
        plain = squared(target, counts, may_be_clipped(observation))
        if self.distance != "l2":
            plain = layerwise(self.distance, target, observation.layout, counts)
        distance = aware(observation, self.objective, plain, counts)

        def cost(variables: Variables) -> Tensor:
            x, *q = variables  # [R, B, ...], [R, B, C] of soft labels unless they are known
            return distance(gradients(x, q[0].softmax(dim=2) if labels is None else labels))

        return Problem(cost)

    def _by_levenberg_marquardt(
        self, observation: Observation, labels: Tensor | None, starts: list[Variables]
    ) -> Found:
        target, gradient = observation.gradient(), one_gradient_of(observation)
        counts = target != 0 if self.masked else None
        resized = may_be_clipped(observation)
        difference = residual(target, counts, resized)

        def residuals(variables: Variables) -> Tensor:
            x, *q = variables  # [B, ...], [B, C] of numbers that stand for labels unless they are known
            return difference(gradient(x, _of_sum_one(q[0]) if labels is None else labels))

        problem, how = self._problem(observation, labels), replace(self._lbfgs(), line_search=True)

        def warmed(start: Variables, seconds: float | None) -> Found:
            budget = Budget(max(1, self.warm_up), self.tolerance, 1, seconds)
            found = by_lbfgs(problem, [start], how, budget)
            return replace(found, variables=_with_softmax(found.variables))

        affine = labels is None and not resized  # a gradient is affine in the labels
        floor = _left_by_rounding(observation)
        if self.warm_up:
            return by_least_squares(residuals, starts, self._budget(), affine, floor, warmed)
        starts = [_with_softmax(start) for start in starts]
        return by_least_squares(residuals, starts, self._budget(), affine, floor)


def _with_softmax(variables: Variables) -> Variables:
    """Return inputs, and the probabilities that stand for labels unless they are known."""
    x, *q = variables
    return (x, *(v.softmax(dim=1) for v in q))


def _left_by_rounding(observation: Observation) -> float:
    """Return the relative cost that the truth is expected to have, the message being in float32."""
    size = float(observation.update.double().square().sum())
    return float(rounding(observation).square().sum()) / size if size > 0 else 0.0


def _of_sum_one(y: Tensor) -> Tensor:
    """Return numbers [B, C] moved alike, so that those of each example have the sum 1."""
    return y + (1 - y.sum(dim=1, keepdim=True)) / y.shape[1]
