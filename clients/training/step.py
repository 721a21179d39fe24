"""One local step of some clients, in whatever way they train: twist, decay, correct, momentum, Adam, descend.

The clients' parameters are one or several stacked tensors [K, ...]: all of a model's parameters apart, or one
flat matrix [K, P]. A step changes them in place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.declarations import Algorithms, declared
from .adam import Adam

if TYPE_CHECKING:
    from ...core.contracts import Groups, LocalRule, LocalTraining

Steer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From gradients, parameters and received parameters [..., P] to what a local step descends instead."""

Gradient = Tensor | tuple[Tensor, Tensor]
"""A gradient [K, ...], or the two factors of one that is ``torch.bmm`` of them."""

_LEAST = 1e-6  # of a pull by which a drift may be divided


class LocalStep:
    """How the parameters of a stack of clients move."""

    def __init__(
        self,
        rule: LocalRule,
        how: LocalTraining,
        received: Sequence[Tensor],
        local: Sequence[Tensor],
        steers: Sequence[Steer | None] = (),
        shared: Sequence[Groups] = (),
        own: Sequence[Groups] = (),
        decay_apart: bool = False,
    ) -> None:
        """Take the tensors of parameters, and for each of them what a rule may look at.

        Args:
            rule: The algorithm.
            how: The training it schedules.
            received: What the clients started from, a tensor for each of ``local``.  # [...] each
            local: The clients' parameters, contiguous, changed in place.  # [K, ...] each
            steers: How each client twists its gradients, or None; by default nobody does.
            shared: What the server sent besides, for each of ``local``; for rules that ``exchanges``.
            own: What the clients remember, likewise.
            decay_apart: Whether the product of weight decay and parameters is rounded before it is added to
                the gradient.
        """
        self._rule, self._how, self._received, self._local = rule, how, received, local
        self._shared, self._own, self._decay_apart = shared, own, decay_apart
        twisted = grouped(steers)
        self._twisted = [(way, rows, _places(rows, local[0])) for way, rows in twisted]
        changed = twisted or how.momentum or how.weight_decay or how.optimizer != "sgd"
        drift = declared(rule, Algorithms.drift)
        self._drift = drift and [drift(*pair) for pair in zip(shared, own, strict=True)]
        self._pull = declared(rule, Algorithms.proximal)
        linear = self._drift is not None or self._pull > 0
        small = self._drift is not None and 0 < self._pull < _LEAST
        self._plain = (declared(rule, Algorithms.plain) or linear) and not changed and not small
        self._goals = self._pulling() if self._plain and self._pull else None
        self._velocity = [torch.zeros_like(p) for p in local] if how.momentum else local
        self._adam = Adam(local) if how.optimizer == "adam" else None

    def descend(self, gradients: Sequence[Gradient], going: int) -> None:
        """Take one step of the first ``going`` clients, tensor by tensor."""
        if self._adam is not None:
            self._adam.begin_step()
        for i, gradient in enumerate(gradients):
            home = first_of(self._local[i], going)
            if isinstance(gradient, tuple | list):
                left, right = (first_of(factor, going) for factor in gradient)
                if self._plain:
                    if self._goals is not None:  # first: the pull is that of where the gradient was taken
                        home.lerp_(self._goals[i][:going], self._how.lr * self._pull)
                    home.baddbmm_(left, right, alpha=-self._how.lr)
                    if self._drift is not None and self._goals is None:
                        home.add_(self._drift[i][:going], alpha=-self._how.lr)
                    continue
                gradient = torch.bmm(left, right)
            self._step(i, first_of(gradient, going), home)

    def _pulling(self) -> list[Tensor]:
        """Return where pull and drift together lead: received - drift / pull.  # [K or 1, ...]"""
        if self._drift is None:
            return [p[None] for p in self._received]
        pairs = zip(self._received, self._drift, strict=True)
        return [p.add(drift, alpha=-1 / self._pull) for p, drift in pairs]

    def _step(self, i: int, gradient: Tensor, home: Tensor) -> None:
        how, received = self._how, self._received[i]
        for steer, ascending, who in self._twisted:
            rows = who[: bisect_left(ascending, len(home))]
            if len(rows):
                gradient = gradient.index_copy(0, rows, steer(gradient[rows], home[rows], received))
        if how.weight_decay and self._decay_apart:
            gradient = gradient + how.weight_decay * home
        elif how.weight_decay:
            gradient = gradient.add(home, alpha=how.weight_decay)
        if self._drift is not None and not self._pull:
            direction = gradient + self._drift[i][: len(home)]
        else:
            direction = self._rule.correct(gradient, home, received, *self._besides(i, len(home)))
        if how.momentum:
            direction = self._velocity[i][: len(home)].mul_(how.momentum).add_(direction)
        if self._adam is not None:
            direction = self._adam.direction(i, direction)
        home.add_(direction, alpha=-how.lr)

    def _besides(self, i: int, going: int) -> tuple[Groups, ...]:
        """Return what a rule that exchanges more than parameters looks at besides."""
        if not self._shared:
            return ()
        return self._shared[i], {name: rows[:going] for name, rows in self._own[i].items()}


def first_of(stack: Tensor, number: int) -> Tensor:
    """Return the first rows of a stack; of all of them no view is made."""
    return stack if len(stack) == number else stack[:number]


def _places(rows: list[int], local: Tensor) -> Tensor:
    """Return ascending rows as indices where ``local`` lies; those of everybody are made there."""
    if len(rows) == len(local):
        return torch.arange(len(rows), device=local.device)
    return torch.tensor(rows).to(local.device)


def grouped(steers: Sequence[Steer | None]) -> list[tuple[Steer, list[int]]]:
    """Return every way to twist gradients with the rows that do so, ascending."""
    rows: dict[Steer, list[int]] = {}
    for row, steer in enumerate(steers):
        if steer is not None:
            rows.setdefault(steer, []).append(row)
    return list(rows.items())
