"""Named tensors as one flat vector, and back: a model's trainable parameters, or any message."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import torch
from torch import Tensor, nn

KEPT = "kept_by_clients"
"""Attribute of a model: the names of its tensors that stay with each client, and are in no layout."""


@dataclass(frozen=True)
class Slot:
    """One tensor's place in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return prod(self.shape)


def _slots(tensors: Iterator[tuple[str, Tensor]]) -> tuple[Slot, ...]:
    slots, start = [], 0
    for name, tensor in tensors:
        slots.append(Slot(name, tuple(tensor.shape), start))
        start += tensor.numel()
    return tuple(slots)


@dataclass(frozen=True)
class Layout:
    """Names, shapes and offsets of a vector's tensors: a model's trainable parameters, or those of a message.

    A model's parameters are the vector [P] that clients exchange by default. Its floating buffers (running
    statistics) are a second vector [Q]: averaged, never clipped or noised. Integer buffers stay at home.

    Attributes:
        parameters: The vector's tensors; of a model the trainable parameters, in its own order.
        buffers: The persistent floating buffers, in the model's own order.
    """

    parameters: tuple[Slot, ...]
    buffers: tuple[Slot, ...] = ()

    @classmethod
    def of(cls, model: nn.Module) -> "Layout":
        """Return the layout of what ``model`` exchanges: of all but the tensors that its clients keep."""
        kept = frozenset(getattr(model, KEPT, ()))
        buffers = ((name, b) for name, b in floating_buffers(model) if name not in kept)
        trainable = ((n, p) for n, p in model.named_parameters() if p.requires_grad and n not in kept)
        return cls(_slots(trainable), _slots(buffers))

    @cached_property
    def num_parameters(self) -> int:
        """P, the length of the parameter vector."""
        return sum(slot.size for slot in self.parameters)

    @cached_property
    def num_buffers(self) -> int:
        """Q, the length of the buffer vector."""
        return sum(slot.size for slot in self.buffers)

    @cached_property
    def groups(self) -> dict[str, slice]:
        """Where each group of tensors lies in the vector: what stands before the ``/`` of their names."""
        found: dict[str, slice] = {}
        for slot in self.parameters:
            name = slot.name.partition("/")[0]
            start = found[name].start if name in found else slot.start
            found[name] = slice(start, slot.start + slot.size)
        return found

    @property
    def contiguous(self) -> bool:
        """Whether the tensors have different names and lie end to end, none of them empty."""
        ends = list(accumulate((slot.size for slot in self.parameters), initial=0))
        alone = len({slot.name for slot in self.parameters}) == len(self.parameters)
        return alone and all(s.start == at and s.size for s, at in zip(self.parameters, ends, strict=False))

    def repeated(self, *groups: str) -> "Layout":
        """Return the layout of one vector like this a group, end to end, its tensors named ``group/name``."""
        slots = [
            Slot(f"{group}/{slot.name}", slot.shape, number * self.num_parameters + slot.start)
            for number, group in enumerate(groups)
            for slot in self.parameters
        ]
        return Layout(tuple(slots), self.buffers)

    def followed_by(self, **shapes: tuple[int, ...]) -> "Layout":
        """Return the layout with further tensors behind; ``Layout(()).followed_by(gram=(4, 4))`` has one."""
        slots, start = list(self.parameters), self.num_parameters
        for name, shape in shapes.items():
            slots.append(Slot(name, tuple(shape), start))
            start += slots[-1].size
        return Layout(tuple(slots), self.buffers)

    def views(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return each parameter as a view of ``vectors`` [..., P], shaped [..., *shape]."""
        return _views(self.parameters, vectors)

    def buffer_views(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return each buffer as a view of ``vectors`` [..., Q], shaped [..., *shape]."""
        return _views(self.buffers, vectors)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return a new float32 vector [P] from named parameters."""
        return _flat(self.parameters, tensors)

    def flatten_buffers(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return a new float32 vector [Q] from named buffers."""
        return _flat(self.buffers, tensors)


def floating_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return a model's persistent floating buffers by name, in its own order."""
    persistent = model.state_dict(keep_vars=True)
    return [(n, b) for n, b in model.named_buffers() if n in persistent and b.is_floating_point()]


def _views(slots: tuple[Slot, ...], vectors: Tensor) -> dict[str, Tensor]:
    lead = vectors.shape[:-1]
    return {s.name: vectors.narrow(-1, s.start, s.size).view((*lead, *s.shape)) for s in slots}


def _flat(slots: tuple[Slot, ...], tensors: Mapping[str, Tensor]) -> Tensor:
    if not slots:
        return torch.zeros(0)
    return torch.cat([tensors[s.name].detach().reshape(-1).to(torch.float32) for s in slots])
