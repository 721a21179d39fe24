"""L-GreCo: each tensor with an option of its own, planned by the server to send less at the same error.

Source: Markov, Vladu, Guo, Alistarh. L-GreCo: Layerwise-Adaptive Gradient Compression for Efficient
Data-parallel Training. MLSys 2024. arXiv:2210.17357. That the error table is of the server's last aggregate,
which needs nothing of a client besides its message, is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Codec, CodecContext, CodecStreams, Mismatch
from ...core.declarations import Codecs, declared
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.trees import State
from ...core.updates import Updates
from .parts.inside import make_codec
from .parts.packing import Array
from .parts.planning import plan


@dataclass(frozen=True)
class LGreco:
    """Encode each tensor by the codec inside, with the value of one option that the server planned for it.

    Every ``every`` rounds the server encodes its last aggregate with each value, and takes for each tensor
    the one so that all bodies together are smallest while the summed error stays that of the uniform choice,
    or less (``parts.planning``). It sends the plan with the parameters: one number a tensor. Before the first
    aggregate, and of a message whose tensors are others, all have the uniform choice. What is planned from is
    what the server published; the plan is kept from round to round all the same, as a memory is.

    Attributes:
        codec: The codec inside, by name or as a table of ``name`` and its options. It keeps no memory, shares
            nothing, and sends one record a tensor.
        option: Which of its options is planned, such as ``density``, ``rank``, ``levels`` or ``bits``.
        menu: The values that it may have, at least one.
        uniform: The place of the uniform choice in the menu, from 0.
        every: Rounds between plans, at least 1.
        alpha: The bound on the summed error, in units of the uniform choice's, above 0.
        squared: Whether errors are squared lengths, which add up to that of the whole message, or lengths
            (the paper).
    """

    codec: str | dict[str, Any] = "topk"
    option: str = "density"
    menu: tuple[int | float, ...] = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
    uniform: int = 3
    every: int = 10
    alpha: float = 1.0
    squared: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "menu", tuple(self.menu))
        if not self.menu or not 0 <= self.uniform < len(self.menu):
            raise ValueError(f"uniform must be a place in the menu of {len(self.menu)}, got {self.uniform}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be above 0 and finite, got {self.alpha}")
        inner = self._codecs[0]
        alone = declared(inner, Codecs.share) is None and not declared(inner, Codecs.reads_params)
        if inner.init() is not None or not alone:
            raise ValueError(
                f"codec {self.codec!r} keeps a memory, shares something or reads parameters: use one that "
                "does not"
            )

    @cached_property
    def _codecs(self) -> tuple[Codec, ...]:
        """The codec inside, with each value of the menu."""
        table = {"name": self.codec} if isinstance(self.codec, str) else dict(self.codec)
        return tuple(make_codec({**table, self.option: value}) for value in self.menu)

    @property
    def codec_id(self) -> int:
        return self._codecs[0].codec_id

    @property
    def unbiased(self) -> bool:
        return all(declared(codec, Codecs.unbiased) for codec in self._codecs)

    @property
    def contractive(self) -> bool:
        return all(declared(codec, Codecs.contractive) for codec in self._codecs)

    def init(self) -> State:
        return {"shapes": [], "round": 0, "plan": None}

    def share(self, params: Tensor, aggregate: Tensor, state: State) -> State:
        """Return the plan of the next round: the place in the menu of each tensor, uint8.  # [L]"""
        due = state["round"] % self.every == 0 or state["plan"] is None
        known = sum(map(prod, state["shapes"])) == len(aggregate) and bool(state["shapes"])
        if not known or not due or not bool(aggregate.isfinite().all()):
            return state["plan"]
        sizes, errors = self.tables(aggregate, _layout_of(state["shapes"]))
        return torch.tensor(plan(sizes, errors, self.uniform, self.alpha), dtype=torch.uint8)

    def tables(self, update: Tensor, layout: Layout) -> tuple[Array, Array]:
        """Return (bits of a body, what is lost) of each tensor of an update [P] and value.  # [L, V] each"""
        sizes = np.zeros((len(layout.parameters), len(self.menu)))
        errors, streams = np.zeros_like(sizes), CodecStreams(0, 0, purpose="plan")
        one = Updates(update.float()[None], torch.tensor([0]), torch.tensor([1]))
        for value, codec in enumerate(self._codecs):
            records = codec.encode(one, layout, None, streams)[0][0]
            lost = (codec.decode(records, layout, streams.context(0)) - update).double()
            for i, slot in enumerate(layout.parameters):
                part = lost[slot.start : slot.start + slot.size]
                sizes[i, value] = 8 * len(records[i].body)
                errors[i, value] = float(part.square().sum()) if self.squared else float(part.norm())
        return sizes, errors

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return the records of every tensor, by the codec with the value that the plan gives it."""
        found: list[list[Record]] = [[] for _ in range(len(updates))]
        inside = replace(streams, shared=None)
        for value, places, part, columns in self._groups(layout, streams.shared):
            own = updates.with_vectors(updates.vectors[:, columns])
            rows, _ = self._codecs[value].encode(own, part, None, inside)
            for row, records in zip(found, rows, strict=True):
                row += [replace(record, tensor_id=i) for i, record in zip(places, records, strict=True)]
        shapes = [list(slot.shape) for slot in layout.parameters]
        after = {"shapes": shapes, "round": streams.round + 1, "plan": streams.shared}
        return [sorted(row, key=lambda record: record.tensor_id) for row in found], after

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return what the codecs inside make of their tensors.  # [P]

        Raises:
            FrameError: One of them refuses its records.
        """
        vector = torch.empty(layout.num_parameters)
        inside = replace(context, shared=None)
        for value, places, part, columns in self._groups(layout, context.shared):
            own = [replace(records[i], tensor_id=n) for n, i in enumerate(places)]
            vector[columns] = self._codecs[value].decode(own, part, inside)
        return vector

    def _groups(self, layout: Layout, shared: State) -> list[tuple[int, list[int], Layout, Tensor]]:
        """Return (value, its tensors, their layout, their columns) of each value that the plan has."""
        number = len(layout.parameters)
        told = shared is not None and len(shared) == number
        choices = shared.tolist() if told else [self.uniform] * number
        found = []
        for value in sorted(set(choices)):
            places = [i for i, choice in enumerate(choices) if choice == value]
            slots = [layout.parameters[i] for i in places]
            columns = [torch.arange(slot.start, slot.start + slot.size) for slot in slots]
            part = _layout_of([slot.shape for slot in slots])
            found.append((value, places, part, torch.cat(columns)))
        return found

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return max(codec.max_body(shape) for codec in self._codecs)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the sum over tensors, each by the first value of the menu that reads its record."""
        return sum(self._bits(record, slot) for record, slot in zip(records, layout.parameters, strict=True))

    def _bits(self, record: Record, slot: Slot) -> float:
        part, one = _layout_of([slot.shape]), replace(record, tensor_id=0)
        for codec in self._codecs[:-1]:
            try:
                codec.decode([one], part, CodecContext(0, 0, 0))
            except FrameError:
                continue
            return codec.ideal_bits([one], part)
        return self._codecs[-1].ideal_bits([one], part)

    def choices(self, layout: Layout, shared: State) -> list[float]:
        """Return the value of the option that each tensor has in a round."""
        number = len(layout.parameters)
        told = shared is not None and len(shared) == number
        places = shared.tolist() if told else [self.uniform] * number
        return [float(self.menu[place]) for place in places]

    def mismatch(
        self, records: Sequence[Record], layout: Layout, context: CodecContext
    ) -> LayeredMismatch | None:
        """Return the mean of the codecs' own mismatches, each counted by its share of the coordinates."""
        parts, inside = [], replace(context, shared=None)
        for value, places, part, columns in self._groups(layout, context.shared):
            if not len(columns):
                continue
            own = [replace(records[i], tensor_id=n) for n, i in enumerate(places)]
            judge = declared(self._codecs[value], Codecs.mismatch)
            found = None if judge is None else judge(own, part, inside)
            if found is None:
                return None
            parts.append((columns, found))
        return LayeredMismatch(tuple(parts)) if parts else None


@dataclass(frozen=True, eq=False)
class LayeredMismatch:
    """The mean over coordinates of what the codecs of several parts of a message say of it.

    Attributes:
        parts: Of each, its columns and its mismatch; at least one.
    """

    parts: tuple[tuple[Tensor, Mismatch], ...]

    @property
    def scale_free(self) -> bool:
        return all(mismatch.scale_free for _, mismatch in self.parts)

    def __call__(self, updates: Tensor) -> Tensor:
        total = sum(len(columns) for columns, _ in self.parts)
        shares = [
            mismatch(updates[..., columns]) * (len(columns) / total) for columns, mismatch in self.parts
        ]
        return torch.stack(shares).sum(dim=0)


def _layout_of(shapes: Sequence[Sequence[int]]) -> Layout:
    """Return tensors of these shapes, one behind the other."""
    slots, at = [], 0
    for number, shape in enumerate(shapes):
        slots.append(Slot(f"tensor {number}", tuple(shape), at))
        at += prod(shape)
    return Layout(tuple(slots))
