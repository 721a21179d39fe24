"""The dropout layers of a model: what each of their calls drops, and forward passes with given masks.

Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov. Dropout: A Simple Way to Prevent Neural
Networks from Overfitting. JMLR 15, 2014. Scaled by 1 / (1 - p) in training, as torch.nn.Dropout does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


def cannot_mask(model: nn.Module, batches: Sequence[Tensor]) -> str | None:
    """Return why masks cannot be given to the model in the place of its own, or None where they can.

    Args:
        model: A model in training mode.
        batches: Inputs of different numbers of examples, from which calls are seen; without any, only the
            layers themselves are looked at.
    """
    for layer in dropouts(model):
        if type(layer) is not nn.Dropout or layer.inplace or layer.p == 1:
            return f"{_named(layer)} draws in a way of its own"
    before = torch.random.get_rng_state()
    found = [seen_calls(model, x) for x in batches]
    if not torch.equal(before, torch.random.get_rng_state()):
        torch.random.set_rng_state(before)
        return "the model draws random numbers outside of dropout layers"
    rests = [[tuple(shape[1:]) for _, shape in calls] for calls in found]
    sizes = [[shape[:1] for _, shape in calls] for calls in found]
    whole = all(size == (len(x),) for x, seen in zip(batches, sizes, strict=True) for size in seen)
    if not whole or any(rest != rests[0] for rest in rests):
        return "dropout whose first dimension is not the examples"
    return None


def _named(layer: nn.Module) -> str:
    in_place = " in place" if getattr(layer, "inplace", False) else ""
    return f"dropout{in_place} ({layer})"


def seen_calls(model: nn.Module, x: Tensor) -> list[tuple[float, tuple[int, ...]]]:
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
def replaced(
    model: nn.Module, forward: Callable[[float, Tensor], Tensor], layers: Sequence[nn.Module] | None = None
) -> Iterator[None]:
    """Let layers hand their rate and their input to ``forward`` inside the block.

    By default every layer that would drop something.
    """
    layers = dropouts(model) if layers is None else layers
    for layer in layers:
        layer.forward = lambda x, rate=layer.p: forward(rate, x)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def masked(
    model: nn.Module, masks: Sequence[Tensor], layers: Sequence[nn.Module] | None = None
) -> Iterator[None]:
    """Let dropout layers, call by call, keep what ``masks`` keep (1) and drop the rest (0)."""
    left = iter(masks)
    with replaced(model, lambda rate, x: x * (next(left) / (1 - rate)), layers):
        yield
