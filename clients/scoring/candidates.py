"""Candidate models: what many sets of parameters make of the same inputs, for a defense that asks.

Small models are run as one batched computation (``torch.func``). Large ones, which are no slower alone on a
CPU, and such as convolve or have recurrent layers or batch statistics are run one after the other. It is a
rule, never a measurement, on one thread: equal arguments give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ...core.errors import PluginError, named_faults
from ...core.layout import Layout
from ...core.untouched import untouched
from ...core.wanted import kind_of
from ..placement.device import one_thread
from ..placement.stackable import can_stack, convolves
from ..tracing.eager_pooling import PoolingBySlices

if TYPE_CHECKING:
    from ...core.updates import Forward, Gradient, OwnExamples
    from ..tracing.losses import Loss

STACKED = 2**18  # parameters of all models of a stack together
TALLEST = 32  # models
_AT_ONCE = 1000, 100  # inputs, and of a model that convolves


class CandidateModels:
    """Run models of one architecture that differ in their parameters.

    Attributes:
        loss: The mean loss that clients minimise, from outputs and labels of a batch.
        examples: The server's own; None where it has none.
        blank: One input of zeros; None where the data set does not say its inputs' shape.  # [1, ...]
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        loss: Loss,
        examples: OwnExamples | None,
        stacked: bool = True,
        blank: Tensor | None = None,
    ) -> None:
        """Take a model of its own, its name, the attributes, and whether models may be stacked."""
        self.loss, self.examples, self.blank, self._name = loss, examples, blank, name
        self._layout = Layout.of(model)
        self._size = size = self._layout.num_parameters
        self._model = model.eval().requires_grad_(False)
        self._tied = _shares_tensors(model)
        alone = convolves(model) or can_stack(self._model) is not None or not stacked
        self._height = 1 if alone else max(1, min(TALLEST, STACKED // max(1, size)))
        self._at_once = _AT_ONCE[convolves(model)]

    def forward(self, buffers: Tensor) -> Forward:
        """Return ``Context.forward`` of a round in which clients received these buffers [Q]."""
        return partial(self._run, buffers)

    def gradient(self, buffers: Tensor) -> Gradient:
        """Return ``Context.gradient`` of a round in which clients received these buffers [Q]."""
        return partial(self._gradient, buffers)

    def _gradient(self, received: Tensor, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of the mean loss of one model on examples.  # [P]

        Raises:
            PluginError: Another shape or type of parameters, or a model or a loss that raises.
        """
        _check("params", params[None] if isinstance(params, Tensor) else params, "1", self._size)
        named = named_faults(f"model '{self._name}' cannot be differentiated")
        with one_thread(), torch.enable_grad(), named, untouched("the model", x, y):
            at = params.detach().clone().requires_grad_()
            return torch.autograd.grad(self.loss(self._one(at, received, x), y), at)[0]

    def _run(self, received: Tensor, params: Tensor, x: Tensor, buffers: Tensor | None = None) -> Tensor:
        """Return the outputs of L models for n inputs.  # [L, n, ...]

        Args:
            received: The buffers that all have where no others are given.  # [Q]
            params: Their parameters.  # [L, P]
            x: Inputs, of whatever type the model takes.  # [n, ...]
            buffers: Each one's own.  # [L, Q]

        Raises:
            PluginError: Other shapes or types, no model or no input, or a model that raises.
        """
        _check("params", params, "L", self._layout.num_parameters)
        own = received.expand(len(params), -1) if buffers is None else buffers
        _check("buffers", own, str(len(params)), self._layout.num_buffers)
        if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0:
            raise PluginError(f"forward: x must be a tensor of at least one input [n, ...], got {kind_of(x)}")
        named, watched = named_faults(f"model '{self._name}' cannot be run"), untouched("the model", x)
        with one_thread(), torch.no_grad(), named, watched:
            parts = x.tensor_split(-(-len(x) // self._at_once))
            return torch.cat([torch.cat(list(self._outputs(params, own, part))) for part in parts], dim=1)

    def _outputs(self, params: Tensor, buffers: Tensor, x: Tensor) -> Iterator[Tensor]:
        """Yield the outputs of one stack of models after the other.  # [l, n, ...] each"""
        for some, theirs in zip(
            torch.split(params, self._height), torch.split(buffers, self._height), strict=True
        ):
            if self._height > 1:
                run = vmap(lambda p, b: self._one(p, b, x))
                yield run(some, theirs).to(torch.float32)
            else:
                with PoolingBySlices():
                    yield self._one(some[0], theirs[0], x)[None].to(torch.float32)

    def _one(self, params: Tensor, buffers: Tensor, x: Tensor) -> Tensor:
        named = {**self._layout.views(params), **self._layout.buffer_views(buffers)}
        found: Tensor = functional_call(self._model, named, (x,), tie_weights=self._tied)
        return found


def _shares_tensors(model: nn.Module) -> bool:
    """Return whether a tensor has two names; torch else looks for such before every call."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return len({id(tensor) for _, tensor in named}) < len(named)


def _check(name: str, came: object, rows: str, size: int) -> None:
    fine = (
        isinstance(came, Tensor) and came.dtype == torch.float32 and came.ndim == 2 and came.shape[1] == size
    )
    fine = fine and isinstance(came, Tensor) and len(came) > 0 and rows in ("L", str(len(came)))
    if not fine:
        raise PluginError(f"forward: {name} must be a tensor float32 [{rows}, {size}], got {kind_of(came)}")
