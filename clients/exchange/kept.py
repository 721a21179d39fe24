"""What clients keep of the model: as their memory, and between it and what they exchange."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...core.layout import Layout
from ..models.kept import kept_layout, kept_names, whole_of
from .exchange import Exchange


def keeping(exchange: Exchange, model: nn.Module) -> Exchange:
    """Return an exchange whose clients remember what they keep of the model: itself where that is nothing.

    A client that was never counted has it as it is in ``model``.
    """
    if not kept_names(model):
        return exchange
    layout = kept_layout(model)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    first = layout.flatten(own).cpu()
    return replace(exchange, memory=layout, start=lambda params: first.to(params.dtype))


@dataclass(frozen=True, eq=False)
class Halves:
    """Where the exchanged and the kept tensors lie in the whole model's vectors.

    Attributes:
        whole: The layout of the model that a client trains.
        kept_parameters: Which of its parameters stay, bool.  # [W]
        kept_buffers: Which of its buffers stay, bool.  # [V]
    """

    whole: Layout
    kept_parameters: Tensor
    kept_buffers: Tensor

    @classmethod
    def of(cls, model: nn.Module) -> Halves:
        """Return those of a model of which clients keep a part."""
        names, whole = frozenset(kept_names(model)), Layout.of(whole_of(model))
        parameters, buffers = (
            torch.cat(
                [torch.full((slot.size,), slot.name in names) for slot in slots] or [torch.zeros(0).bool()]
            )
            for slots in (whole.parameters, whole.buffers)
        )
        return cls(whole, parameters, buffers)

    def joined(self, params: Tensor, buffers: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return the whole model's parameters [W] and buffers [V] of a client.

        Args:
            params: What was exchanged.  # [P]
            buffers: Its buffers.  # [Q]
            own: What the client keeps.  # [S]
        """
        size = int(self.kept_parameters.sum())
        halves = (self.kept_parameters, params, own[:size]), (self.kept_buffers, buffers, own[size:])
        whole_params, whole_buffers = (
            shared.new_empty(len(kept)).masked_scatter_(~kept, shared).masked_scatter_(kept, mine)
            for kept, shared, mine in halves
        )
        return whole_params, whole_buffers

    def parted(self, params: Tensor, buffers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return of a whole model what is exchanged, [P] and [Q], and what is kept [S]."""
        there = params[self.kept_parameters], buffers[self.kept_buffers]
        return params[~self.kept_parameters], buffers[~self.kept_buffers], torch.cat(there)
