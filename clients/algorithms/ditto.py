"""Ditto: a personal model per client, tied to the global one.

Source: Li, Hu, Beirami, Smith. Ditto: Fair and Robust Federated Learning Through Personalization. ICML 2021,
Algorithm 1. arXiv:2012.04221
"""

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from torch import Tensor

from ...core.contracts import Groups, LocalRule, LocalTraining
from ...core.layout import Layout

_MOST = 1e15  # of a pull whose square float32 holds


@dataclass(frozen=True)
class Ditto:
    """Train the global model as FedAvg, and in every client v_i by f_i(v) + lambda/2 ||v - x||^2.

    x is the model that the client received in this round, v_i starts as the first such and stays with its
    client, who takes as many steps for it as for the global model, on batches of its own. What is sent is the
    update of the global model alone, to the last bit FedAvg's: any attack, defense, codec or privacy
    mechanism works on that. Byzantine clients reach v_i through x alone.

    A privacy mechanism protects what leaves a client. v_i does not: it is trained on the client's own
    examples, without clipping or noise under any mechanism, and no epsilon covers it or its scores.

    Every visited client remembers a whole model: P numbers.

    Attributes:
        pull: lambda, at least 0: how strongly v_i is tied to x. 0 trains it on the client's examples alone.
            Above 2 (1 + momentum) / lr every step would lead further away from x: refused. With Adam, which
            takes no longer steps for it, at most 1e15.
        lr: The step size of v_i, above 0; by default that of ``training``.
        local_steps: Steps of v_i in a round, at least 1; by default those of ``training``.
    """

    pull: float = 1.0
    lr: float | None = None
    local_steps: int | None = None

    plain: ClassVar[bool] = True
    memory_stays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.pull < inf:
            raise ValueError(f"pull must be at least 0 and finite, got {self.pull}")
        if self.lr is not None and not 0 < self.lr < inf:
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
        if self.local_steps is not None and self.local_steps < 1:
            raise ValueError(f"local_steps must be at least 1, got {self.local_steps}")

    def memory(self, layout: Layout) -> Layout:
        return layout.repeated("personal")

    def start(self, params: Tensor) -> Groups:
        return {"personal": params}

    def schedule(self, training: LocalTraining) -> LocalTraining:
        how = self.personal.schedule(training)
        most = 2 * (1 + how.momentum) / how.lr if how.optimizer == "sgd" else _MOST
        if self.pull > most:
            raise ValueError(
                f"ditto: steps of lr {how.lr:g} with a pull of {self.pull:g} lead away from the received "
                f"model; allowed: a pull of at most {most:g}"
            )
        return training

    def correct(
        self, gradient: Tensor, params: Tensor, received: Tensor, shared: Groups, own: Groups
    ) -> Tensor:
        return gradient

    @property
    def personal(self) -> LocalRule:
        """The rule of v_i."""
        return Leaning(self.pull, self.lr, self.local_steps)


@dataclass(frozen=True)
class Leaning:
    """Step along the gradient plus ``pull`` times the way from the received model; options as ``Ditto``'s."""

    pull: float
    lr: float | None = None
    local_steps: int | None = None

    @property
    def proximal(self) -> float:
        """How strongly the received model pulls."""
        return self.pull

    def schedule(self, training: LocalTraining) -> LocalTraining:
        lr, steps = self.lr or training.lr, self.local_steps or training.local_steps
        return replace(training, lr=lr, local_steps=steps)

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient if self.pull == 0 else gradient + self.pull * (params - received)
