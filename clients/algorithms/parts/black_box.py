"""What clients share that know their loss by its values alone: a counted oracle, Adam, and the two halves.

Source: Shu, Fang, He, Low. Federated Zeroth-Order Optimization using Trajectory-Informed Surrogate
Gradients. arXiv:2308.04077; its rounds and its test of a new point. Adam: Kingma, Ba. ICLR 2015.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ....core.contracts import LocalTraining, Visit
from ....core.trees import State

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(eq=False)
class Queries:
    """A client's loss, asked for its values and counted.

    Attributes:
        visit: The client's visit.
        count: How many values were asked for.
    """

    visit: Visit
    count: int = field(default=0)

    def at(self, points: Tensor) -> Tensor:
        """Return the mean loss over all of the client's examples at some points [n, P], float64.  # [n]"""
        self.count += len(points)
        return self.visit.losses(points.float()).double()


@dataclass(eq=False)
class Adam:
    """Adam that begins anew in every visit, with torch's constants, in float64.

    Attributes:
        lr: Step size, above 0.
        first, second: The moments; None before the first step.  # [P]
        steps: Steps so far.
    """

    lr: float
    first: Tensor | None = None
    second: Tensor | None = None
    steps: int = 0

    def step(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the next point.  # [P]"""
        zero = torch.zeros_like(x)
        self.first = BETA1 * (zero if self.first is None else self.first) + (1 - BETA1) * gradient
        self.second = BETA2 * (zero if self.second is None else self.second) + (1 - BETA2) * gradient**2
        self.steps += 1
        mean = self.first / (1 - BETA1**self.steps)
        return x - self.lr * mean / ((self.second / (1 - BETA2**self.steps)).sqrt() + EPS)


def looks(round_: int) -> bool:
    """Return whether clients look at a new point in a round: every second one; else they step."""
    return round_ % 2 == 1


def schedule(training: LocalTraining, lr: float) -> LocalTraining:
    """Return the training of clients that ask for values over all of their examples."""
    return replace(training, batch_size=0, local_steps=1, lr=lr, momentum=0.0, optimizer="sgd")


def first_memory() -> dict[str, Any]:
    """Return what the server knows before round 0."""
    return {"round": 0, "best": None, "kept": None}


def moved(
    params: Tensor,
    update: Tensor,
    value: float | None,
    state: dict[str, Any],
    server_lr: float,
    revert: bool,
) -> tuple[Tensor, State]:
    """Step along the clients' mean update, or keep or take back the last step, by turns.

    Args:
        params: The global parameters.  # [P]
        update: The clients' mean update; 0 where they looked.  # [P]
        value: F at ``params``, as the clients state it in every round: a wrong one is forgotten when they
            state it again. None: nobody was counted, and nothing is known of it; then a step that was not
            looked at is taken back, too.
        state: As ``first_memory``.
        server_lr: What the update is multiplied by.
        revert: Whether a step that does not make F smaller is taken back.
    """
    after, best = {**state, "round": state["round"] + 1}, state["best"]
    if not looks(state["round"]):
        known = best if value is None else value
        return params + server_lr * update, {**after, "best": known, "kept": params.clone()}
    fell = value is not None and (best is None or value < best)
    if revert and not fell:
        return state["kept"].clone(), after
    return params.clone(), {**after, "best": best if value is None else value}
