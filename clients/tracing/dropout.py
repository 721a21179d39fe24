"""Dropout in a stack of clients: masks drawn outside the stacked step, each client's from its own stream.

A client alone draws from torch's global generator, seeded for client and round. Here a generator of the
client's own is seeded the same and asked for the same shapes in the same order, so that the masks are the
same to the last bit, whoever else is in the stack.

Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov. Dropout: A Simple Way to Prevent Neural
Networks from Overfitting. JMLR 15, 2014. Scaled by 1 / (1 - p) in training, as torch.nn.Dropout does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...core.dropout import Call, cannot_mask, dropouts, seen_calls
from ..data.blank import blank_inputs


def cannot_draw(
    model: nn.Module, input_shape: Sequence[int] | None, dtype: torch.dtype = torch.float32
) -> str | None:
    """Return why masks cannot be drawn outside of the model, or None where they can.

    Args:
        model: A model in training mode.
        input_shape: The shape of one example; None where it is not known.
        dtype: The type of inputs.
    """
    if input_shape is None:
        needed = "dropout needs masks, and the inputs' shape is not known" if dropouts(model) else None
        return cannot_mask(model, ()) or needed
    return cannot_mask(model, [blank_inputs(n, input_shape, dtype) for n in (2, 3)])


def calls(model: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> list[Call]:
    """Return every call of a dropout layer in a forward pass, in its order.

    Args:
        model: A model in training mode, of which ``cannot_draw`` has nothing to say.
        input_shape: The shape of one example.
        dtype: The type of inputs.
    """
    if not dropouts(model):
        return []
    return [
        Call(rate, tuple(shape[1:])) for rate, shape in seen_calls(model, blank_inputs(2, input_shape, dtype))
    ]


class Masks:
    """The masks of a stack of clients, step by step."""

    def __init__(self, calls: Sequence[Call], streams: Sequence[torch.Generator], width: int) -> None:
        """Take what is drawn, each client's generator, and how many examples a padded batch has."""
        self._rates, self._streams = [call.rate for call in calls], streams
        self._masks = [torch.zeros(len(streams), width, *call.shape) for call in calls]  # [K, B, ...] each

    def draw(self, sizes: Sequence[int], height: int) -> list[Tensor]:
        """Return the first clients' next masks of 0 and 1, [height, B, ...] each.

        What lies beyond a client's batch, and all of a client that is done, is left from a step before.

        Args:
            sizes: Examples in the batch of every client that still trains: of the first of them.
            height: Clients to return.
        """
        for k, size in enumerate(sizes):
            for rate, mask in zip(self._rates, self._masks, strict=True):
                mask[k, :size].bernoulli_(1 - rate, generator=self._streams[k])
        return [mask[:height] for mask in self._masks]
