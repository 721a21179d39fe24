"""Dropout in a stack of clients: masks drawn outside the stacked step, each client's from its own stream.

A client alone draws from torch's global generator, seeded for client and round. Here a generator of the
client's own is seeded the same and asked for the same shapes in the same order, so that the masks are the
same to the last bit, whoever else is in the stack.

Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov. Dropout: A Simple Way to Prevent Neural
Networks from Overfitting. JMLR 15, 2014. Scaled by 1 / (1 - p) in training, as torch.nn.Dropout does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.blank import blank_inputs

_AnyDropout = nn.modules.dropout._DropoutNd


@dataclass(frozen=True)
class Call:
    """One call of a dropout layer in a forward pass.

    Attributes:
        rate: p, the probability that a value is dropped, above 0 and below 1.
        shape: The shape of what one example gives the layer.
    """

    rate: float
    shape: tuple[int, ...]


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the layers that would drop something in training."""
    return [m for m in model.modules() if isinstance(m, _AnyDropout) and m.p > 0 and m.training]


def cannot_draw(
    model: nn.Module, input_shape: Sequence[int] | None, dtype: torch.dtype = torch.float32
) -> str | None:
    """Return why masks cannot be drawn outside of the model, or None where they can.

    Args:
        model: A model in training mode.
        input_shape: The shape of one example; None where it is not known.
        dtype: The type of inputs.
    """
    layers = dropouts(model)
    for layer in layers:
        if type(layer) is not nn.Dropout or layer.inplace or layer.p == 1:
            return f"{_named(layer)} draws in a way of its own"
    if input_shape is None:
        return "dropout needs masks, and the inputs' shape is not known" if layers else None
    before = torch.random.get_rng_state()
    found = [_seen(model, blank_inputs(n, input_shape, dtype)) for n in (2, 3)]
    if not torch.equal(before, torch.random.get_rng_state()):
        torch.random.set_rng_state(before)
        return "the model draws random numbers outside of dropout layers"
    rests = [[tuple(shape[1:]) for _, shape in calls] for calls in found]
    if rests[0] != rests[1] or any(
        shape[:1] != (n,) for n, c in zip((2, 3), found, strict=True) for _, shape in c
    ):
        return "dropout whose first dimension is not the examples"
    return None


def _named(layer: nn.Module) -> str:
    in_place = " in place" if getattr(layer, "inplace", False) else ""
    return f"dropout{in_place} ({layer})"


def calls(model: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> list[Call]:
    """Return every call of a dropout layer in a forward pass, in its order.

    Args:
        model: A model in training mode, of which ``cannot_draw`` has nothing to say.
        input_shape: The shape of one example.
        dtype: The type of inputs.
    """
    if not dropouts(model):
        return []
    return [Call(rate, tuple(shape[1:])) for rate, shape in _seen(model, blank_inputs(2, input_shape, dtype))]


def _seen(model: nn.Module, x: Tensor) -> list[tuple[float, tuple[int, ...]]]:
    """Return every call's rate and input shape, from a forward pass in which nothing is dropped."""
    seen: list[tuple[float, tuple[int, ...]]] = []

    def note(rate: float, x: Tensor) -> Tensor:
        seen.append((rate, tuple(x.shape)))
        return x

    device = next((p.device for p in model.parameters()), None)
    with torch.no_grad(), replaced(model, note):
        model(x.to(device))
    return seen


@contextmanager
def replaced(model: nn.Module, forward: Callable[[float, Tensor], Tensor]) -> Iterator[None]:
    """Let every layer that drops something hand its rate and its input to ``forward`` inside the block."""
    layers = dropouts(model)
    for layer in layers:
        layer.forward = lambda x, rate=layer.p: forward(rate, x)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def masked(model: nn.Module, masks: Sequence[Tensor]) -> Iterator[None]:
    """Let the model's dropout layers, call by call, keep what ``masks`` keep (1) and drop the rest (0)."""
    left = iter(masks)
    with replaced(model, lambda rate, x: x * (next(left) / (1 - rate))):
        yield


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
