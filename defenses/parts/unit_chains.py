"""Chains of layers, as far as shapes tell: which numbers of a model belong to one hidden unit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.layout import Layout, Slot


@dataclass(frozen=True)
class Hidden:
    """One hidden layer.

    Attributes:
        units: How many units, or channels, it has.
        before: The slots with one row a unit: its weight, and its bias if it has one.
        after: The next layer's weight, whose columns come from these units.
    """

    units: int
    before: tuple[Slot, ...]
    after: Slot


@dataclass(frozen=True)
class Chain:
    """The hidden layers of a model, from its inputs to its outputs."""

    hidden: tuple[Hidden, ...]

    def products(self, layer: int, a: Tensor, b: Tensor) -> Tensor:
        """Return the inner products of what belongs to each unit in two models [P].  # [n, n]"""
        one, two = self._by_unit(layer, a), self._by_unit(layer, b)
        found: Tensor = one @ two.T
        return found

    def permuted(self, layer: int, model: Tensor, order: Tensor) -> Tensor:
        """Return a model [P] in which the unit at place i is the one that was at ``order[i]``."""
        hidden, out = self.hidden[layer], model.clone()
        for slot in hidden.before:
            rows = _part(model, slot).view(hidden.units, -1)
            _part(out, slot).view(hidden.units, -1).copy_(rows[order])
        columns = _part(model, hidden.after).view(hidden.after.shape[0], hidden.units, -1)
        _part(out, hidden.after).view(columns.shape).copy_(columns[:, order])
        return out

    def _by_unit(self, layer: int, model: Tensor) -> Tensor:
        """Return all that belongs to each unit.  # [n, numbers]"""
        hidden = self.hidden[layer]
        rows = [_part(model, slot).view(hidden.units, -1) for slot in hidden.before]
        columns = _part(model, hidden.after).view(hidden.after.shape[0], hidden.units, -1)
        return torch.cat([*rows, columns.transpose(0, 1).flatten(1)], dim=1)


def chain_of(layout: Layout, who: str) -> Chain:
    """Return the hidden layers of a model of linear and convolutional layers, one after the other.

    Raises:
        ValueError: Parameters that are no weight and no bias of such a layer, layers that do not fit, or
            layers inside of a numbered block, such as a residual one or an adapter, with a way around it.
    """
    weights = [slot for slot in layout.parameters if len(slot.shape) >= 2]
    if len(weights) < 2:
        return Chain(())
    rows: list[tuple[Slot, ...]] = []
    for slot in layout.parameters:
        *path, kind = slot.name.split(".")
        if kind not in ("weight", "bias"):  # such as a recurrent layer's: its states come back to it
            raise ValueError(f"{who} needs layers with a weight and at most a bias, got {slot.name} besides")
        if any(part.isdigit() for part in path[:-1]):
            raise ValueError(f"{who} needs layers one after the other, got {slot.name} inside of a block")
        if len(slot.shape) >= 2:
            rows.append((slot,))
        elif rows and len(rows[-1]) == 1 and slot.shape == rows[-1][0].shape[:1]:
            rows[-1] = (*rows[-1], slot)
        else:
            raise ValueError(f"{who} needs layers with a weight and at most a bias, got {slot.name} besides")
    return Chain(tuple(_hidden(rows[i], rows[i + 1][0], who) for i in range(len(rows) - 1)))


def _hidden(before: tuple[Slot, ...], after: Slot, who: str) -> Hidden:
    units, inputs = before[0].shape[0], after.shape[1]
    fits = inputs % units == 0 if len(after.shape) == 2 else inputs == units
    if not fits:
        first, then = f"{before[0].name} has {units} outputs", f"{after.name} {inputs} inputs"
        raise ValueError(f"{who} needs layers in a chain: {first}, {then}")
    return Hidden(units, before, after)


def _part(model: Tensor, slot: Slot) -> Tensor:
    return model[slot.start : slot.start + slot.size]
