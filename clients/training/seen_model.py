"""The model that a client received, as an attack on its examples looks at it: outputs and their gradients.

It is a copy in evaluation mode on the CPU. Gradients go to inputs, never to parameters.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from torch.func import functional_call

from ...core.errors import named_faults
from ...core.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...core.contracts import SeenModel


class SeenModels:
    """Shows models of one architecture."""

    def __init__(self, model: nn.Module) -> None:
        """Take a model, of which a copy is made."""
        self._layout = Layout.of(model)
        self._model = deepcopy(model).to("cpu").eval().requires_grad_(False)

    def of(self, params: Tensor, buffers: Tensor) -> SeenModel:
        """Return the model with these parameters [P] and buffers [Q]."""
        params, buffers = params.detach().clone(), buffers.detach().clone()  # nobody writes into the engine's
        named = {**self._layout.views(params), **self._layout.buffer_views(buffers)}

        def outputs(x: Tensor) -> Tensor:
            with named_faults("the model that the attack sees cannot be run"):
                found: Tensor = functional_call(self._model, named, (x,))
            return found

        return outputs
