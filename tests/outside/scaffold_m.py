"""SCAFFOLD-M: control variates against the drift of clients, and momentum over rounds in every local step.

Source: Cheng, Huang, Wu, Yuan. Momentum Benefits Non-IID Federated Learning Simply and Provably. ICLR 2024,
SCAFFOLD-M. arXiv:2306.16504
"""

from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class ScaffoldM:
    """Step along beta (gradient - c_i + c) + (1 - beta) g, where g is the last round's mean direction.

    A client remembers c_i, the mean of the gradients that it met in its last visit. It sends the mean
    direction of its steps, and how c_i changed. The server keeps c, the mean of all clients' c_i, and g.

    Attributes:
        server_lr: The server's step along the mean direction, above 0: local_steps times lr goes as far as
            the clients did. With that and beta = 1 it is SCAFFOLD, option II.
        beta: The weight of what is new, above 0 and at most 1.
    """

    server_lr: float
    beta: float = 0.1

    weighs_alike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.beta <= 1:
            raise ValueError(f"beta must be above 0 and at most 1, got {self.beta}")
        if self.server_lr <= 0:
            raise ValueError(f"server_lr must be above 0, got {self.server_lr}")

    def up(self, layout):
        return layout.repeated("direction", "control")

    def down(self, layout):
        return layout.repeated("params", "direction", "control")

    def memory(self, layout):
        return layout.repeated("control")

    def scales(self, training):
        pace = 1 / ((training.local_steps or training.local_epochs) * training.lr)
        return {"direction": pace, "control": pace}  # a message as long as an update

    def schedule(self, training):
        if training.optimizer != "sgd" or training.momentum:
            raise ValueError("scaffold_m needs training.optimizer = 'sgd' without momentum")
        return training

    def correct(self, gradient, params, received, shared, own):
        return self.beta * (gradient - own["control"] + shared["control"]) + self._old(shared)

    def _old(self, shared):
        return (1 - self.beta) * shared["direction"]

    def finish(self, update, received, shared, own, work):
        direction = update / (-work.steps * work.training.lr)
        change = (direction - self._old(shared)) / self.beta - shared["control"]
        return {"direction": direction, "control": change}, {"control": own["control"] + change}

    def init(self):
        return {"direction": None, "control": None}

    def extra(self, params, state):
        return torch.stack([torch.zeros_like(params) if v is None else v for v in state.values()])

    def step(self, params, aggregate, state, share):
        direction, change = aggregate.view(2, -1)
        control = self.extra(params, state)[1] + share * change
        return params - self.server_lr * direction, {"direction": direction, "control": control}
