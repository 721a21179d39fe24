"""Task-accumulated steps (TAG): shorter where earlier tasks' gradients point against the present one's.

Source: Malviya, Ravindran, Chandar. TAG: Task-based Accumulated Gradients for Lifelong Learning. CoLLAs 2022.
arXiv:2105.05155 (id unverified), as the authors' code has it. Tasks as turns of rounds, and the aggregate
standing for the (negative) gradient: this package's transfer. No relation to the text attack of that name.
"""

from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...core.layout import Layout, Slot
from . import moments


@dataclass(frozen=True)
class TaskAccumulated:
    """Step by lr Delta / (sqrt(sum_t alpha_t v_t) + eps), over all tasks t met so far.

    Round r is of task (r // rounds_per_task) modulo ``tasks``. Each task keeps both moments, m and v, of the
    aggregates of its own rounds. Tensor by tensor, in task c: alpha_t = exp(-b cos(m_c, m_t)) for every
    other task met, and alpha_c = exp(-b); 1 where no other was met. Tasks that agree lengthen the step,
    those that disagree shorten it by up to exp(b / 2).

    Attributes:
        lr: Server step size, above 0.
        tasks: How many there are, at least 1.
        rounds_per_task: Rounds of a turn, at least 1.
        b: How much agreement counts, from 0 to 80: exp(b) is still a float32.
        beta1: Memory of the first moment, in [0, 1).
        beta2: Memory of the second moment, in [0, 1).
        eps: Added to denominators, above 0.
    """

    lr: float = 0.01
    tasks: int = 2
    rounds_per_task: int = 1
    b: float = 5.0
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-6

    by_tensor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        moments.check(self.lr, self.beta1, self.eps, self.beta2, tau_is="eps")
        for name in ("tasks", "rounds_per_task"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.b <= 80:
            raise ValueError(f"b must be from 0 to 80, got {self.b}")

    def init(self) -> dict[str, Any]:
        return {"round": 0, "met": {}}

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any], layout: Layout
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and both moments [P] of every task met."""
        task, none = state["round"] // self.rounds_per_task % self.tasks, torch.zeros_like(params)
        last = state["met"].get(task, {"m": none, "v": none})
        own = {
            "m": moments.mix(last["m"], aggregate, self.beta1),
            "v": moments.mix(last["v"], moments.square(aggregate), self.beta2),
        }
        others = [moment for number, moment in state["met"].items() if number != task]
        below = torch.cat([self._weighed(slot, own, others) for slot in layout.parameters])
        moved = params + self.lr * aggregate / (below.sqrt() + self.eps)
        return moved, {"round": state["round"] + 1, "met": {**state["met"], task: own}}

    def _weighed(self, slot: Slot, own: dict[str, Tensor], others: list[dict[str, Tensor]]) -> Tensor:
        """Return sum_t alpha_t v_t of one tensor, flat."""
        part = slice(slot.start, slot.start + slot.size)
        if not others:
            return own["v"][part]
        total = exp(-self.b) * own["v"][part]
        for other in others:
            total = total + exp(-self.b * cosine(own["m"][part], other["m"][part])) * other["v"][part]
        return total


def cosine(one: Tensor, two: Tensor) -> float:
    """Return the cosine of two vectors; 0 where one has no length."""
    a, b = one.double(), two.double()
    lengths = float(a.norm() * b.norm())
    return float(a @ b) / lengths if lengths > 0 else 0.0
