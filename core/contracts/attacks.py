"""What attacks owe, and what they are allowed to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from ..observation import Observation, Reconstruction
    from ..trees import State
    from ..updates import Updates
    from .defenses import Verdict
    from .knowledge import UpdateKnowledge


@dataclass(frozen=True)
class View:
    """Exactly what an attack's declared knowledge allows, and nothing more.

    Attributes:
        round: The round, from 0.
        params: The broadcast global parameters.  # [P]
        cohort_size: Clients in this cohort, K. Under central or distributed privacy an attack that is not
            omniscient is told the public, expected size instead: who came is not its to know.
        honest: The honest clients' updates; None unless the attack is omniscient.
        generator: The attack's own stream for this round (and client, with OWN knowledge).
        aggregate: What the server would decide about a cohort: its clipping, pre-aggregations and defense,
            on a copy of their memories, with its own update on its root examples, but with random numbers
            that are not the server's. None unless the attack declares ``knows_defense``.
    """

    round: int
    params: Tensor
    cohort_size: int
    honest: Updates | None
    generator: np.random.Generator
    aggregate: Callable[[Updates], Verdict] | None = None


@dataclass(frozen=True)
class Goal:
    """What an attack wants of the model, on test examples.

    Attributes:
        x: Inputs as the attacker would show them.  # [m, ...]
        truth: Their true labels.  # [m]
        wanted: The labels that the attacker wants for them.  # [m]
    """

    x: Tensor
    truth: Tensor
    wanted: Tensor


class SeenModel(Protocol):
    """A model as an attack sees it: in evaluation mode, differentiable in its inputs and in ``params``."""

    @property
    def params(self) -> Tensor:
        """Return a copy of its parameters.  # [P]"""

    def __call__(self, x: Tensor, params: Tensor | None = None) -> Tensor:
        """Return the outputs [n, ...] for inputs [n, ...], also with other parameters [P]."""

    def features(self, x: Tensor, params: Tensor | None = None) -> Tensor:
        """Return the inputs of its last layer with parameters.  # [n, F]

        Raises:
            ValueError: It has no such layer of its own.
        """

    def head(self, x: Tensor) -> Tensor:
        """Return which parameters are that layer's, for inputs like these, bool.  # [P]"""


class DataAttack(Protocol):
    """Poison a malicious client's examples before it trains on them.

    What it may declare: ``core.declarations.DataAttacks``. One that declares ``sees_model`` is handed the
    model that its client received, a ``SeenModel``, as the last argument of ``poison``; and the one that is
    evaluated as the last one of ``goal``. One with a method ``retrain`` writes its client's update itself.
    """

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return what is trained on: x [m, ...] (features, or pixels in [0, 1]) and y [m], 1 <= m <= n."""


class UpdateAttack(Protocol):
    """Rewrite the malicious clients' honest updates before they are sent.

    What it may declare: ``core.declarations.UpdateAttacks``.
    """

    @property
    def knowledge(self) -> UpdateKnowledge: ...

    def init(self) -> State: ...

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        """Return what the malicious clients send instead: same clients, same shape, finite or not."""


class LeakageAttack(Protocol):
    """Rebuild a client's examples from what it really sent.

    What it may declare: ``core.declarations.LeakageAttacks``, in items of ``LeakageKnowledge``. All of it is
    checked before a run begins, and again before the attack. Of what is known it is told what it declares.
    """

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        """Return what a client trained on, from one message, or from several rounds' in their order."""


class InferenceAttack(Protocol):
    """Score a hypothesis about clients (a label, a membership) from what they really sent.

    Declares what a ``LeakageAttack`` may declare.
    """

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        """Return one row of finite scores for each observation, floats [N, H]; higher means more likely.

        Where it takes several rounds (``most_rounds``), those of one client's rounds are added up.
        """
