"""Local training of one client at a time.

The model's parameters are views of one flat vector, so that a local step is a handful of operations on [P]
whatever the number of layers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.contracts import LocalRule, LocalTraining
from ..core.layout import Layout
from ..core.seeds import seeded_torch
from .adam import Adam
from .channels_last import channels_last
from .losses import Loss
from .messages import Broadcast
from .stacked import Steer

Array = np.ndarray[Any, Any]


class LoneTraining:
    """Train clients one after the other, all on the same model.

    Attributes:
        local: The parameters that are trained: the model's own are views of it.  # [P]
        gradient: Their gradient, in the same way.  # [P]
    """

    def __init__(
        self,
        model: nn.Module,
        rule: LocalRule,
        how: LocalTraining,
        loss: Loss,
        device: str,
        arrange: bool = False,
    ) -> None:
        """Take the model, which is moved to ``device`` and changed by training, and the rest.

        With ``arrange``, pictures are laid out channels last.
        """
        self._model, self._layout = model.to(device), Layout.of(model)
        self._rule, self._how, self._loss, self._device = rule, how, loss, device
        self._arrange = arrange
        self.local = torch.zeros(self._layout.num_parameters, device=device)
        self.gradient = torch.zeros_like(self.local)
        named = dict(model.named_parameters())
        gradients = self._layout.views(self.gradient)
        for name, view in self._layout.views(self.local).items():
            named[name].data = view
            named[name].grad = gradients[name]

    def train(
        self,
        broadcast: Broadcast,
        examples: tuple[Tensor, Tensor],
        batches: Sequence[Array],
        dropout: np.random.Generator,
        steer: Steer | None,
        update: Tensor,
        buffers: Tensor,
    ) -> Tensor:
        """Write one client's update [P] and buffers [Q]; return its mean loss [].

        Args:
            broadcast: What the server sent, its parameters on the device to train on.
            examples: The client's inputs and labels or targets.
            batches: The rows of each local step.
            dropout: The client's stream.
            steer: How the client twists its gradients, or None.
            update: Where the update belongs.
            buffers: Where the buffers belong.
        """
        x, y = (part.to(self._device) for part in examples)
        x = channels_last(x) if self._arrange else x
        received = broadcast.params
        self._receive(received, broadcast.buffers)
        self._model.train()
        velocity, total = torch.zeros_like(self.local), torch.zeros((), device=self._device)
        adam = Adam([self.local]) if self._how.optimizer == "adam" else None
        with seeded_torch(dropout):
            for rows in batches:
                batch = (x, y) if len(rows) == len(y) else (x[rows], y[rows])
                total += self._step(*batch, received, velocity, steer, adam)
        self.local.sub_(received)
        update.copy_(self.local)
        buffers.copy_(self._layout.flatten_buffers(dict(self._model.named_buffers())))
        return total / len(batches)

    def _receive(self, params: Tensor, buffers: Tensor) -> None:
        self.local.copy_(params)
        own = dict(self._model.named_buffers())
        for name, view in self._layout.buffer_views(buffers).items():
            own[name].copy_(view)

    def _step(
        self,
        x: Tensor,
        y: Tensor,
        received: Tensor,
        velocity: Tensor,
        steer: Steer | None,
        adam: Adam | None,
    ) -> Tensor:
        """Take one step of SGD, or of Adam, in place; return the batch's mean loss before it."""
        how = self._how
        self.gradient.zero_()
        loss = self._loss(self._model(x), y)
        torch.autograd.backward(loss)
        with torch.no_grad():
            if steer is not None:
                self.gradient.copy_(steer(self.gradient, self.local, received))
            if how.weight_decay:
                self.gradient.add_(self.local, alpha=how.weight_decay)
            direction = self._rule.correct(self.gradient, self.local, received)
            if how.momentum:
                direction = velocity.mul_(how.momentum).add_(direction)
            if adam is not None:
                adam.begin_step()
                direction = adam.direction(0, direction)
            self.local.add_(direction, alpha=-how.lr)
        return loss.detach()
