"""Unlearning of clients: the model climbs their loss and descends everybody else's, on some of its weights.

Source: Jia, Liu, Zhang, Ram, Baracaldo, Liu. WAGLE: Strategic Weight Attribution for Effective and Modular
Unlearning in Large Language Models. NeurIPS 2024. arXiv:2410.17509 (abstract, and a summary). RECONSTRUCTION:
the score of weights is unverified, and that clients send the two gradients is this package's transfer.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Visit
from ...core.layout import Layout
from ...core.seeds import generator
from ...core.trees import State

_MASKS = ("all", "wagle", "magnitude", "random")


@dataclass(frozen=True)
class Unlearn:
    """Step by -lr M (retain g_r - min(1, most / |g_f|) g_f) from the model of a run before (``init``).

    g_f is the mean gradient of the clients in ``forget`` at what they received, and g_r that of all others;
    one step is a round. The climb is bounded, and ends after ``steps``, or when the mean loss of those who
    are forgotten is at least ``stop_loss``: that of a model that never met them, if it is known. Any client
    can end it so, forgotten or not, by stating a large loss once: it is a mean, and ends for good. M is 1
    for a share ``keep`` of the weights, chosen in the first step and the same in all:

    - ``all``: of all weights; ``random``: drawn; ``magnitude``: the largest.
    - ``wagle``: the largest x g_f - g_r g_f / gamma: what zeroing a weight would do to the forgotten loss, to
      first order, and to the others'.

    It forgets what the model says, and not what its weights are: only training anew does that. Whoever asks
    to be forgotten moves the model as the bound allows; who may ask is the operator's to decide, and
    ``forget`` is part of the scenario. A client sends two gradients, of which one is 0, and a loss.

    Attributes:
        forget: Ids of the clients to forget, at least one, and not all there are.
        lr: Step size, above 0.
        retain: What the others' gradient counts, the paper's lambda, at least 0.
        most: The longest climb, in L2 norm of a gradient, above 0.
        steps: Steps at most, at least 1.
        stop_loss: See above, in nats; None: not.
        mask: See above.
        keep: The share of weights that move, above 0 and at most 1.
        gamma: Above 0.
        seed: What ``random`` is drawn from.
    """

    forget: tuple[int, ...] = (0,)
    lr: float = 0.1
    retain: float = 1.0
    most: float = 1.0
    steps: int = 20
    stop_loss: float | None = None
    mask: Literal["all", "wagle", "magnitude", "random"] = "all"
    keep: float = 1.0
    gamma: float = 1.0
    seed: int = 0

    weighs_alike: ClassVar[bool] = True
    plain_mean: ClassVar[bool] = True
    full_participation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.forget or min(self.forget) < 0 or len(set(self.forget)) < len(self.forget):
            raise ValueError(f"forget must be ids of clients, each once, got {list(self.forget)}")
        for name in ("lr", "most", "gamma"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.retain < np.inf:
            raise ValueError(f"retain must be at least 0 and finite, got {self.retain}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.stop_loss is not None and not np.isfinite(self.stop_loss):
            raise ValueError(f"stop_loss must be finite, or left out; got {self.stop_loss}")
        if self.mask not in _MASKS:
            raise ValueError(f"mask must be one of {', '.join(_MASKS)}, got {self.mask!r}")
        if not 0 < self.keep <= 1 or (self.mask == "all" and self.keep < 1):
            raise ValueError(f"keep must be above 0 and at most 1, and 1 with mask all, got {self.keep}")

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("retain", "forget").followed_by(loss=(1,))

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=1, lr=self.lr, momentum=0.0, optimizer="sgd")

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the client's gradient in its place, so that the mean over all is one over each group."""
        if max(self.forget) >= visit.num_clients or len(self.forget) == visit.num_clients:
            raise ValueError(
                f"forget must be some of clients 0 to {visit.num_clients - 1}, got {list(self.forget)}"
            )
        gradient, loss = visit.gradient(visit.received)
        nothing, some = torch.zeros_like(gradient), len(self.forget)
        if visit.client_id in self.forget:
            return torch.cat([nothing, gradient, loss[None]]) * (visit.num_clients / some), loss
        others = visit.num_clients / (visit.num_clients - some)
        return torch.cat([gradient * others, nothing, nothing[:1]]), loss

    def init(self) -> State:
        return {"steps": 0, "done": False, "mask": None}

    def step(self, params: Tensor, aggregate: Tensor, state: Any, share: float) -> tuple[Tensor, State]:
        """Take a step, unless all are taken or enough is forgotten."""
        kept, gone, loss = aggregate[: len(params)], aggregate[len(params) : -1], float(aggregate[-1])
        reached = share > 0 and self.stop_loss is not None and loss >= self.stop_loss
        done = state["done"] or reached or state["steps"] >= self.steps
        if share == 0 or done:
            return params.clone(), {**state, "done": done}
        mask = self.chosen(params, kept, gone) if state["mask"] is None else state["mask"]
        climb = gone * min(1.0, self.most / max(float(gone.norm()), 1e-30))
        moved = params - self.lr * mask * (self.retain * kept - climb)
        return moved, {"steps": state["steps"] + 1, "done": False, "mask": mask}

    def chosen(self, params: Tensor, kept: Tensor, gone: Tensor) -> Tensor:
        """Return 1 where a weight moves, else 0.  # [P]"""
        count = max(1, round(self.keep * len(params)))
        if self.mask == "all":
            return torch.ones_like(params)
        scores = {
            "wagle": params * gone - kept * gone / self.gamma,
            "magnitude": params.abs(),
            "random": torch.from_numpy(generator(self.seed, "unlearn mask").uniform(size=len(params))),
        }[self.mask]
        mask = torch.zeros_like(params)
        mask[scores.argsort(descending=True, stable=True)[:count]] = 1.0
        return mask
