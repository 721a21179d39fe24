"""The model that a client received, as an attack on its examples looks at it: outputs, and their gradients.

It is a copy in evaluation mode on the CPU. Gradients go to inputs, and to parameters that the attack puts in
the place of those that were received: never to the engine's.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call

from ...core.errors import PASSED, said
from ...core.layout import Layout
from .added_loss import head_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...core.contracts import SeenModel


class SeenModels:
    """Shows models of one architecture."""

    def __init__(self, model: nn.Module) -> None:
        """Take a model, of which a copy is made."""
        self._layout = Layout.of(model)
        self._model = deepcopy(model).to("cpu").eval().requires_grad_(False)
        self._heads: dict[tuple[int, ...], str] = {}  # the last layer's path, by the inputs' shape

    def of(self, params: Tensor, buffers: Tensor) -> SeenModel:
        """Return the model with these parameters [P] and buffers [Q]."""
        return _Seen(self, params.detach().clone(), buffers.detach().clone())  # nobody writes the engine's

    def outputs(self, params: Tensor, buffers: Tensor, x: Tensor) -> Tensor:
        """Return what a model makes of inputs.  # [n, ...]"""
        named = {**self._layout.views(params), **self._layout.buffer_views(buffers)}
        try:
            found: Tensor = functional_call(self._model, named, (x,))
        except PASSED:
            raise
        except BaseException as error:  # a plain error, so that the attack that asked is named
            raise ValueError(f"the model that the attack sees cannot be run: {said(error)}") from error
        return found

    def features(self, params: Tensor, buffers: Tensor, x: Tensor) -> Tensor:
        """Return the inputs of the last layer with parameters, flattened.  # [n, F]"""
        seen: list[Tensor] = []

        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            seen.append(args[0].flatten(1))

        handle = self._model.get_submodule(self._head(x)).register_forward_pre_hook(note)
        try:
            self.outputs(params, buffers, x)
        finally:
            handle.remove()
        return seen[-1]

    def head(self, x: Tensor) -> Tensor:
        """Return which parameters are the last layer's, on inputs of this shape.  # [P]"""
        path = self._head(x)
        slots = self._layout.parameters
        whose = [torch.full((slot.size,), slot.name.startswith(f"{path}.")) for slot in slots]
        return torch.cat(whose)

    def _head(self, x: Tensor) -> str:
        shape = tuple(x.shape[1:])
        if shape not in self._heads:
            model = deepcopy(self._model).requires_grad_(True)
            path = head_of(model, shape, x.dtype)
            if path is None:
                raise ValueError("the model that the attack sees has no last layer of its own: no features")
            self._heads[shape] = path
        return self._heads[shape]


class _Seen:
    def __init__(self, models: SeenModels, params: Tensor, buffers: Tensor) -> None:
        self._models, self._params, self._buffers = models, params, buffers

    @property
    def params(self) -> Tensor:
        return self._params.clone()

    def __call__(self, x: Tensor, params: Tensor | None = None) -> Tensor:
        return self._models.outputs(self._params if params is None else params, self._buffers, x)

    def features(self, x: Tensor, params: Tensor | None = None) -> Tensor:
        return self._models.features(self._params if params is None else params, self._buffers, x)

    def head(self, x: Tensor) -> Tensor:
        return self._models.head(x)
