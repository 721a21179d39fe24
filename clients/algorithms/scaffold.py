"""SCAFFOLD: control variates that cancel the drift of clients.

Source: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh. SCAFFOLD: Stochastic Controlled Averaging for
Federated Learning. ICML 2020, Algorithm 1. arXiv:1910.06378
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...core.contracts import Groups, LocalTraining, LocalWork
from ...core.layout import Layout
from ...core.trees import State


@dataclass(frozen=True)
class Scaffold:
    """Step along g_i(y) + c - c_i: each client's control c_i, and their mean c, estimate gradients.

    A client sends its update and how its control changed; the server keeps c. Controls start at 0, and c is
    the mean of all N clients' controls after every round in which everything sent was counted, whoever took
    part: with clipping, noise or a robust defense, c is what these make of it.

    On the way a change of control is divided by the public 1 / (steps lr), so that it is about as long as an
    update; ``steps`` are the scenario's ``local_steps`` or, where it has none, its ``local_epochs``.

    Attributes:
        option: What a client's control becomes. ``"II"``: c_i - c + (x - y) / (K lr), the mean of the
            gradients that it met on its way, for nothing; K is the number of steps that it took (with
            momentum, the sum of what its gradients counted). ``"I"``: the gradient of all its examples at
            x, for one more pass over them; the safer one where K lr is tiny.
        server_lr: The server's step size, above 0.
    """

    option: Literal["I", "II"] = "II"
    server_lr: float = 1.0

    weighs_alike: ClassVar[bool] = True
    stale: ClassVar[bool] = True  # c is a sum of changes, whenever they were worked out

    def __post_init__(self) -> None:
        if self.option not in ("I", "II"):
            raise ValueError(f"option must be I or II, got {self.option!r}")
        if not 0 < self.server_lr < inf:
            raise ValueError(f"server_lr must be above 0 and finite, got {self.server_lr}")

    @property
    def full_gradient(self) -> bool:
        """Whether clients need the gradient of all their examples."""
        return self.option == "I"

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("update", "control")

    def down(self, layout: Layout) -> Layout:
        return layout.repeated("params", "control")

    def memory(self, layout: Layout) -> Layout:
        return layout.repeated("control")

    def scales(self, training: LocalTraining) -> Mapping[str, float]:
        return {"control": 1 / ((training.local_steps or training.local_epochs) * training.lr)}

    def schedule(self, training: LocalTraining) -> LocalTraining:
        if training.optimizer != "sgd":
            raise ValueError(f"scaffold needs training.optimizer = 'sgd', got '{training.optimizer}'")
        return training

    def correct(
        self, gradient: Tensor, params: Tensor, received: Tensor, shared: Groups, own: Groups
    ) -> Tensor:
        return gradient + self.drift(shared, own)

    def drift(self, shared: Groups, own: Groups) -> Tensor:
        return shared["control"] - own["control"]

    def finish(
        self, update: Tensor, received: Tensor, shared: Groups, own: Groups, work: LocalWork
    ) -> tuple[Groups, Groups]:
        if work.gradient is None:
            counted = work.training.lr * momentum_steps(work.steps, work.training.momentum)  # [K, 1]
            change = (update / -counted).sub_(shared["control"])
        else:
            change = work.gradient - own["control"]
        return {"update": update, "control": change}, {"control": own["control"] + change}

    def init(self) -> State:
        return {"control": None}

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return c; 0 before the first round.  # [1, P]"""
        c = state["control"]
        return torch.zeros_like(params)[None] if c is None else c[None]

    def step(self, params: Tensor, aggregate: Tensor, state: State, share: float) -> tuple[Tensor, State]:
        """Step along the mean update, and add the share of the population times the mean change to c."""
        update, change = aggregate.view(2, -1)
        return params + self.server_lr * update, {"control": self.extra(params, state)[0] + share * change}


def momentum_steps(steps: Tensor, momentum: float) -> Tensor:
    """Return what the gradients of so many local steps count in all: the steps, without momentum.

    Source: Wang, Liu, Liang, Joshi, Poor. Tackling the Objective Inconsistency Problem in Heterogeneous
    Federated Optimization. NeurIPS 2020, Section 4. arXiv:2007.07481
    """
    if momentum == 0:
        return steps
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
