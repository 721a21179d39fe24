"""What an algorithm adds to the loss of every example, from what local and frozen models make of it.

Frozen models have the local one's architecture: the received model, or one that a client remembers. They are
asked in evaluation mode, and no gradient goes through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...core.contracts import Activations, Groups
from ...core.declarations import Algorithms, ClientData, declared, name_of
from ...core.errors import PluginError
from ...core.layout import Layout
from ..data.blank import blank_inputs, input_dtype

if TYPE_CHECKING:
    from ..data.base import FederatedData
    from ..exchange.exchange import Exchange

RECEIVED = "received"


@dataclass(frozen=True, eq=False)
class AddedLoss:
    """An algorithm's addition, fitted to a model.

    Attributes:
        value: The algorithm's ``added_loss``.
        frozen: The models that it is told of: ``received``, or a group of what clients remember.
        head: The path of the layer whose inputs are the features.
    """

    value: Callable[[Activations, Mapping[str, Activations], Tensor], Tensor]
    frozen: tuple[str, ...]
    head: str

    def models(self, received: Sequence[Tensor], own: Sequence[Groups], clients: int) -> list[list[Tensor]]:
        """Return the frozen models' parameters for the first clients of a stack.  # [clients, ...] each

        Args:
            received: The broadcast parameters, tensor by tensor.
            own: What the clients remember, likewise.  # [K, ...] each
            clients: How many.
        """
        return [
            [p.expand(clients, *p.shape) for p in received]
            if name == RECEIVED
            else [groups[name][:clients] for groups in own]
            for name in self.frozen
        ]

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """Note the features of every forward pass of ``model`` inside the block.  # [B, F] each"""
        seen: list[Tensor] = []

        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            seen.append(args[0].flatten(1))

        handle = model.get_submodule(self.head).register_forward_pre_hook(note)
        try:
            yield seen
        finally:
            handle.remove()


class FrozenModels:
    """The frozen models of one client at a time."""

    def __init__(self, added: AddedLoss, model: nn.Module) -> None:
        """Take what asks for them, and a model to copy."""
        self._added, self._layout = added, Layout.of(model)
        self._copies = {name: deepcopy(model).eval().requires_grad_(False) for name in added.frozen}

    def hold(self, received: Tensor, buffers: Tensor, own: Groups) -> None:
        """Give them the received parameters [P] and what the client remembers, [1, P] each.

        All of them have the received buffers [Q].
        """
        for name, copy in self._copies.items():
            there = {**dict(copy.named_parameters()), **dict(copy.named_buffers())}
            views = self._layout.views(received if name == RECEIVED else own[name][0])
            for key, view in {**views, **self._layout.buffer_views(buffers)}.items():
                there[key].data.copy_(view)

    def activations(self, x: Tensor) -> dict[str, Activations]:
        """Return what each of them makes of a batch."""
        found = {}
        with torch.no_grad():
            for name, copy in self._copies.items():
                with self._added.watching(copy) as seen:
                    outputs = copy(x)
                found[name] = Activations(outputs, seen[-1])
        return found


def added_loss_of(rule: Any, exchange: Exchange, model: nn.Module, data: FederatedData) -> AddedLoss | None:
    """Return what an algorithm adds to the loss, or None where it adds nothing.

    Args:
        rule: The algorithm.
        exchange: What its clients remember.
        model: The clients' model.
        data: What it is trained on.

    Raises:
        PluginError: It names a frozen model that is neither ``received`` nor a group of its memory.
    """
    value = declared(rule, Algorithms.added_loss)
    if value is None:
        return None
    frozen = tuple(declared(rule, Algorithms.frozen_models))
    known = (RECEIVED, *exchange.memory.groups)
    strangers = [name for name in frozen if name not in known]
    if strangers:
        raise PluginError(
            f"algorithm {name_of(rule)}: frozen_models must be of {', '.join(known)}; got {strangers[0]!r}"
        )
    head = head_of(model, data.input_shape, input_dtype(declared(data, ClientData.num_tokens)))
    assert head is not None, "a model without features is refused before"
    return AddedLoss(value, frozen, head)


def head_of(model: nn.Module, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> str | None:
    """Return the path of the last layer with parameters, whose inputs are a model's features.

    None where it is the only one, is called more than once, or is given something else than a tensor whose
    first dimension is the examples.
    """
    names = {module: path for path, module in model.named_modules()}
    seen: list[tuple[str, bool]] = []

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        fits = bool(args) and isinstance(args[0], Tensor) and args[0].ndim > 1 and len(args[0]) == 2
        seen.append((names[module], fits))

    layers = [m for m in names if any(p.requires_grad for p in m.parameters(recurse=False))]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    training, device = model.training, next(model.parameters()).device
    try:
        with torch.no_grad():
            model.eval()(blank_inputs(2, shape, dtype, device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    called = [path for path, _ in seen]
    if len(set(called)) < 2 or called.count(called[-1]) > 1 or not seen[-1][1]:
        return None
    return called[-1]
