"""What a model answers to the test set, block by block: the same bits wherever a block is asked.

A block's examples go through the model some at a time where it convolves, since what becomes of a thousand
pictures does not fit into a processor's cache. They are cut evenly: a matrix product of very few rows is
summed in another order than one of many.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import PluginError, named_faults
from ..core.layout import Layout
from ..core.untouched import untouched
from .data.base import FederatedData, PartitionedData, inputs, targets_of
from .eager_pooling import PoolingBySlices
from .messages import Broadcast
from .vectorize import convolves

Array = np.ndarray[Any, Any]

BLOCK = 1000  # examples
_AT_ONCE = 100  # examples of a model that convolves, on a CPU


@dataclass(frozen=True, eq=False)
class ScoredExamples:
    """The test set, and behind it what else a model is asked.

    It holds nothing but NumPy arrays, so that processes can share one copy of it, read-only.

    Attributes:
        x: Test inputs, pixels uint8 or float32.  # [m, ...]
        y: Their labels, int64 [m]; or with ``num_outputs`` real-valued targets, float32.  # [m, D]
        more: Inputs that are not in the test set, float32.  # [k, ...]
        num_outputs: D of a regression; 0 of a classification.
    """

    x: Array
    y: Array
    more: Array
    num_outputs: int = 0

    @classmethod
    def of(cls, data: FederatedData, sets: Sequence[Tensor] = ()) -> "tuple[ScoredExamples, list[Array]]":
        """Return the test set with further inputs, and where those of each set are, from 0 to m + k.

        An input that occurs more than once, in the test set or in several sets, is asked once.
        """
        x, y = data.test()
        targets = targets_of(data)
        rows, places = _distinct(x, sets)
        more = np.stack(rows) if rows else np.empty((0, *x.shape[1:]), dtype=np.float32)
        pixels = data.test_x if isinstance(data, PartitionedData) else x.numpy()
        return cls(pixels, y.numpy(), more, 0 if targets is None else len(targets.names)), places

    @property
    def cut(self) -> list[slice]:
        """The blocks, in their order: the test set's, then those of the rest."""
        m, k = len(self.x), len(self.more)
        ends = [(at, min(at + BLOCK, m)) for at in range(0, m, BLOCK)]
        ends += [(m + at, m + min(at + BLOCK, k)) for at in range(0, k, BLOCK)]
        return [slice(*of_block) for of_block in ends]

    def inputs(self, rows: slice) -> Tensor:
        """Return what a model is given of a block: a copy, float32.  # [B, ...]"""
        m = len(self.x)
        own = self.more[rows.start - m : rows.stop - m] if rows.start >= m else self.x[rows]
        return inputs(own)

    def truth(self, rows: slice) -> Tensor:
        """Return a block's labels or targets; none outside of the test set.  # [B] or [B, D]"""
        return torch.from_numpy(self.y[rows].copy())


def _distinct(x: Tensor, sets: Sequence[Tensor]) -> tuple[list[Array], list[Array]]:
    """Return the inputs of some sets that are not in ``x``, each once, and where those of each set are."""
    known: dict[bytes, int] = {}
    if sets:
        known = {_digest(row): place for place, row in reversed(list(enumerate(x.numpy())))}
    rows, places = list[Array](), list[Array]()
    for given in sets:
        found = np.empty(len(given), dtype=np.int64)
        for place, row in enumerate(given.numpy()):
            found[place] = known.setdefault(_digest(row), len(x) + len(rows))
            if found[place] == len(x) + len(rows):
                rows.append(row)
        places.append(found)
    return rows, places


def _digest(row: Array) -> bytes:
    return blake2b(row.tobytes(), digest_size=16).digest()


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model makes of one block.

    Attributes:
        predicted: The class of the largest output, int64 [B]; of a regression the outputs, float32.  # [B, D]
        loss: The sum of the examples' cross-entropies, float64; 0 of a regression, and outside of the test
            set.  # [1]
    """

    predicted: Tensor
    loss: Tensor

    def arrays(self) -> list[Array]:
        """Return (predicted, loss): what a block sends home."""
        return [self.predicted.numpy(), self.loss.numpy()]


class Answers:
    """Gathers the blocks' answers, in whatever order they come.

    Attributes:
        predicted: As in ``Answer``, of all examples.  # [m + k] or [m + k, D]
        losses: As in ``Answer``, a block each.  # [blocks]
    """

    def __init__(self, examples: ScoredExamples) -> None:
        self._cut, size, width = examples.cut, len(examples.x) + len(examples.more), examples.num_outputs
        self.predicted = torch.empty(size, width) if width else torch.empty(size, dtype=torch.int64)
        self.losses = torch.empty(len(self._cut), dtype=torch.float64)

    def __len__(self) -> int:
        """Return how many blocks there are."""
        return len(self._cut)

    def homes(self, block: int) -> list[Array]:
        """Return where one block's ``Answer.arrays`` belong."""
        return [self.predicted.numpy()[self._cut[block]], self.losses.numpy()[block : block + 1]]


class Scorer:
    """Asks a model about blocks of examples."""

    def __init__(
        self, model: nn.Module, examples: ScoredExamples, device: str = "cpu", name: str = "of this run"
    ) -> None:
        """Take the model, which is changed, what it is asked, on which device, and the model's name."""
        self._model, self._layout = model.eval().to(device), Layout.of(model)
        self.examples, self._device, self._name = examples, device, name
        self._at_once = _AT_ONCE if device == "cpu" and convolves(model) else BLOCK
        self._held: Broadcast | None = None

    def score(self, broadcast: Broadcast, blocks: Array) -> Answer:
        """Return what the model with the broadcast's parameters makes of one block.

        Args:
            broadcast: The parameters and buffers.
            blocks: The block's number.  # [1]

        Raises:
            PluginError: The model raised, or works in place on what it is given.
        """
        rows = self.examples.cut[int(blocks[0])]
        with named_faults(f"model '{self._name}' cannot be evaluated"), torch.no_grad():
            self._hold(broadcast)
            outputs = self._outputs(self.examples.inputs(rows))  # [B, C] or [B, D]
            return self._answer(outputs, rows)

    def _answer(self, outputs: Tensor, rows: slice) -> Answer:
        width, none = self.examples.num_outputs, torch.zeros(1, dtype=torch.float64)
        if width:
            if outputs.shape != (rows.stop - rows.start, width):
                came, size = tuple(outputs.shape), rows.stop - rows.start
                raise PluginError(f"the model gave {came} for {size} examples of {width} targets")
            return Answer(outputs.float(), none)
        predicted = outputs.argmax(dim=1)
        if rows.start >= len(self.examples.x):
            return Answer(predicted, none)
        truth = self.examples.truth(rows)
        loss = nn.functional.cross_entropy(outputs.double(), truth, reduction="sum")
        return Answer(predicted, loss.reshape(1))

    def _hold(self, broadcast: Broadcast) -> None:
        """Give the model the broadcast's parameters and buffers."""
        if self._held is broadcast:
            return
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        views = {**self._layout.views(broadcast.params), **self._layout.buffer_views(broadcast.buffers)}
        for name, value in views.items():
            own[name].copy_(value)
        self._held = broadcast

    def _outputs(self, x: Tensor) -> Tensor:
        parts = x.tensor_split(-(-len(x) // self._at_once))
        with untouched("the model", x), PoolingBySlices():
            found = [self._model(part.to(self._device)) for part in parts]
        return torch.cat(found).cpu()


BuildScorer = Callable[[FederatedData, ScoredExamples], Scorer]
"""Builds a worker's scorer from the shared data and examples: a module's function, or a partial of one."""


@dataclass(frozen=True)
class Scoring:
    """What a worker needs to score models.

    Attributes:
        build: Builds its scorer.
        examples: What models are asked.
    """

    build: BuildScorer
    examples: ScoredExamples
