"""Models of which every client keeps a part: what is exchanged, and the whole that a client trains."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from torch import nn

from ...core.errors import PluginError, shown
from ...core.layout import KEPT, Layout, floating_buffers


def keep_back(model: nn.Module, names: Sequence[str], who: str) -> nn.Module:
    """Return the model of which these tensors are in no layout, and not trained by whoever has it so.

    The model of the run: the server's, whose layout is that of messages. Without names it is left as it is.

    Args:
        model: Changed in place.
        names: Trainable parameters and floating buffers of it.
        who: Who keeps them, as messages call it.

    Raises:
        PluginError: There is no such tensor, or no parameter would be left to be exchanged.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise PluginError(f"{who}: keeps must return a list or tuple of names, got {shown(names)}")
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    known = trainable | {name for name, _ in floating_buffers(model)}
    if strangers := [name for name in names if name not in known]:
        raise PluginError(
            f"{who}: keeps must name trainable parameters and floating buffers of the model, got "
            f"{strangers[0]!r}; allowed: {', '.join(sorted(known))}"
        )
    if not names:
        return model
    if trainable <= set(names):
        raise PluginError(f"{who} would keep every parameter of the model; at least one must be exchanged")
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(False)
    setattr(model, KEPT, tuple(dict.fromkeys(names)))
    return model


def kept_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the tensors that clients keep; none of a model that is exchanged as a whole."""
    found: tuple[str, ...] = getattr(model, KEPT, ())
    return found


def whole_of(model: nn.Module) -> nn.Module:
    """Return a copy of which every tensor is trained and in the layout: what a client has."""
    whole, names = deepcopy(model), kept_names(model)
    if names:
        delattr(whole, KEPT)
    for name, parameter in whole.named_parameters():
        if name in names:
            parameter.requires_grad_(True)
    return whole


def kept_layout(model: nn.Module) -> Layout:
    """Return how what a client keeps lies in a vector [S]: parameters, then buffers, in the model's order."""
    names = frozenset(kept_names(model))
    whole = Layout.of(whole_of(model))
    slots = [slot for slot in (*whole.parameters, *whole.buffers) if slot.name in names]
    return Layout(()).followed_by(**{slot.name: slot.shape for slot in slots})
