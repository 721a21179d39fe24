"""What a traced step differentiates: the loss of a batch by its form, and what an algorithm adds to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.func import functional_call

from ...core.contracts import Activations
from ...core.dropout import masked

if TYPE_CHECKING:
    from ...core.contracts import LossForm
    from ..training.added_loss import AddedLoss

Parts = tuple[Tensor, ...]
"""Of some examples: the terms of the loss by its form, and what is added to it, if anything."""


class Objective:
    """One client's batch, as a function of parameters, to be traced."""

    def __init__(
        self, model: nn.Module, names: Sequence[str], form: LossForm, added: AddedLoss | None
    ) -> None:
        """Take the model in training mode, its parameters' names in order, and what clients minimise."""
        self._model, self._names, self._form, self._added = model, tuple(names), form, added

    @property
    def frozen_tensors(self) -> int:
        """How many tensors the parameters of all frozen models are."""
        return 0 if self._added is None else len(self._added.frozen) * len(self._names)

    @property
    def frozen_values(self) -> int:
        """How many tensors all frozen models make of a batch: outputs and features of each."""
        return 0 if self._added is None else 2 * len(self._added.frozen)

    def local(self, params: Sequence[Tensor], masks: Sequence[Tensor], x: Tensor) -> Activations:
        """Return what the model that is trained makes of a batch."""
        with masked(self._model, masks):
            return self._run(params, x)

    def frozen(self, tensors: Sequence[Tensor], x: Tensor) -> dict[str, Activations]:
        """Return what the frozen models make of a batch, given all their parameters, model after model."""
        if self._added is None:
            return {}
        size = len(self._names)
        with _evaluating(self._model):
            return {
                name: self._run(tensors[at * size : (at + 1) * size], x)
                for at, name in enumerate(self._added.frozen)
            }

    def made(self, values: Sequence[Tensor]) -> dict[str, Activations]:
        """Return what the frozen models made of a batch, given outputs and features, model after model."""
        names = () if self._added is None else self._added.frozen
        return {name: Activations(*values[2 * at : 2 * at + 2]) for at, name in enumerate(names)}

    def _run(self, params: Sequence[Tensor], x: Tensor) -> Activations:
        named = dict(zip(self._names, params, strict=True))
        if self._added is None:
            output: Tensor = functional_call(self._model, named, (x,))
            return Activations(output, output)
        with self._added.watching(self._model) as seen:
            output = functional_call(self._model, named, (x,))
        return Activations(output, seen[-1])

    def parts(
        self, local: Activations, frozen: Mapping[str, Activations], target: Tensor
    ) -> tuple[Parts, Parts]:
        """Return what is differentiated, and what each of it is multiplied by.

        Args:
            local: What the model makes of some examples.
            frozen: What the frozen ones make of them.
            target: As ``StackedStep`` takes it.  # [B, T]
        """
        values, weights = self._form.parts(local.outputs, target)
        if self._added is None:
            return (values,), (weights,)
        labels, weight = self._form.labels(local.outputs, target)
        return (values, self._added.value(local, frozen, labels)), (weights, weight)


def total(parts: Parts, weights: Parts) -> Tensor:
    """Return the loss of all examples together [], of what ``Objective.parts`` returned."""
    loss, *more = ((part * weight).sum() for part, weight in zip(parts, weights, strict=True))
    return sum(more, loss)


def each(parts: Parts, weights: Parts) -> Tensor:
    """Return the loss of each example, likewise.  # [B]"""
    loss = (parts[0] * weights[0]).sum(dim=-1)
    return sum((part * weight for part, weight in zip(parts[1:], weights[1:], strict=True)), loss)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    model.eval()
    try:
        yield
    finally:
        model.train()
