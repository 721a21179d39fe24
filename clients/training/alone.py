"""Local training of one client at a time.

The model's parameters are views of one flat vector, so that a local step is a handful of operations on [P]
whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import Activations, Groups, LocalRule, LocalTraining
from ...core.layout import Layout
from ...core.seeds import seeded_torch
from ..tracing.channels_last import channels_last
from .added_loss import AddedLoss, FrozenModels
from .step import LocalStep, Steer

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast
    from ..tracing.losses import Loss

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
        added: AddedLoss | None = None,
    ) -> None:
        """Take the model, which is moved to ``device`` and changed by training, and the rest.

        With ``arrange``, pictures are laid out channels last. ``added`` is what the algorithm
        adds to the loss.
        """
        self._model, self._layout = model.to(device), Layout.of(model)
        self._rule, self._how, self._loss, self._device = rule, how, loss, device
        self._arrange, self._added = arrange, added
        self._frozen = None if added is None else FrozenModels(added, self._model)
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
        shared: Groups | None = None,
        own: Groups | None = None,
        start: Tensor | None = None,
        held: Tensor | None = None,
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
            shared: What the server sent besides, for a rule that exchanges more than parameters.  # [P] each
            own: What the client remembers, likewise.  # [1, P] each
            start: What it starts from, in place of what it received: then its parameters are written to
                ``update``, and not how they changed.  # [P]
            held: Which labels count; logits of the others are 0.  # [C]
        """
        x, y = (part.to(self._device) for part in examples)
        x = channels_last(x) if self._arrange else x
        received = broadcast.params
        self._receive(broadcast, own)
        if start is not None:
            self.local.copy_(start)
        told, kept = ([] if groups is None else [groups] for groups in (shared, own))
        step = LocalStep(self._rule, self._how, [received], [self.local[None]], [steer], told, kept)
        total = torch.zeros((), device=self._device)
        with seeded_torch(dropout):
            for rows in batches:
                batch = (x, y) if len(rows) == len(y) else (x[rows], y[rows])
                total += self._differentiate(*batch, held)
                with torch.no_grad():
                    step.descend([self.gradient[None]], 1)
        update.copy_(self.local.sub_(received) if start is None else self.local)
        buffers.copy_(self._layout.flatten_buffers(dict(self._model.named_buffers())))
        return total / len(batches)

    def full_gradient(
        self,
        broadcast: Broadcast,
        examples: tuple[Tensor, Tensor],
        dropout: np.random.Generator,
        own: Groups | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of the mean loss over all of a client's examples, and that loss.

        As of a stack of one client: [1, P] and [1].
        """
        self._receive(broadcast, own)
        with seeded_torch(dropout):
            loss = self._differentiate(*(part.to(self._device) for part in examples))
        return self.gradient.clone()[None], loss[None]

    def _receive(self, broadcast: Broadcast, own: Groups | None) -> None:
        self.local.copy_(broadcast.params)
        there = dict(self._model.named_buffers())
        for name, view in self._layout.buffer_views(broadcast.buffers).items():
            there[name].copy_(view)
        if self._frozen is not None:
            self._frozen.hold(broadcast.params, broadcast.buffers, own or {})
        self._model.train()

    def _differentiate(self, x: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        """Write the gradient of a batch's mean loss; return that loss []."""
        self.gradient.zero_()
        if self._added is None:
            loss = self._loss(_counted(self._model(x), held), y)
        else:
            loss = self._with_addition(self._added, x, y, held)
        torch.autograd.backward(loss)
        return loss.detach()

    def _with_addition(self, added: AddedLoss, x: Tensor, y: Tensor, held: Tensor | None) -> Tensor:
        """Return the mean of a batch's losses, what the algorithm adds included."""
        assert self._frozen is not None
        with added.watching(self._model) as seen:
            outputs = self._model(x)
        more = added.value(Activations(outputs, seen[-1]), self._frozen.activations(x), y)
        return self._loss(_counted(outputs, held), y) + more.mean()


def _counted(outputs: Tensor, held: Tensor | None) -> Tensor:
    """Return logits [B, C] that are 0 for labels that do not count."""
    return outputs if held is None else outputs * held.to(outputs.device)
