"""What a model answers to the test set, block by block: the same bits wherever a block is asked.

A block's examples go through the model some at a time where it convolves, since what becomes of a thousand
pictures does not fit into a processor's cache. They are cut evenly: a matrix product of very few rows is
summed in another order than one of many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import PluginError, named_faults
from ...core.layout import Layout
from ...core.untouched import untouched
from ..data.base import FederatedData, PartitionedData, inputs
from ..placement.stackable import convolves
from ..tasks.fitted import FittedTask, task_of
from ..tracing.eager_pooling import PoolingBySlices

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast

Array = np.ndarray[Any, Any]

BLOCK = 1000  # examples
_AT_ONCE = 100  # examples of a model that convolves, on a CPU


@dataclass(frozen=True, eq=False)
class ScoredExamples:
    """The test set, and behind it what else a model is asked.

    It holds NumPy arrays, so that processes can share one copy of it, read-only, and a task, which is pickled
    by its name.

    Attributes:
        x: Test inputs, pixels uint8, or float32, or tokens int64.  # [m, ...]
        y: Their labels, int64; or real-valued targets, float32.  # [m, ...]
        more: Inputs that are not in the test set, as a model is given them.  # [k, ...]
        task: What is learnt.
        loss: The clients' loss by its name; ``"auto"`` is the task's first.
    """

    x: Array
    y: Array
    more: Array
    task: FittedTask
    loss: str = "auto"

    @classmethod
    def of(
        cls,
        data: FederatedData,
        sets: Sequence[Tensor] = (),
        task: FittedTask | None = None,
        loss: str = "auto",
    ) -> tuple[ScoredExamples, list[Array]]:
        """Return the test set with further inputs, and where those of each set are, from 0 to m + k.

        An input that occurs more than once, in the test set or in several sets, is asked once.
        """
        x, y = data.test()
        rows, places = _distinct(x, sets)
        more = np.stack(rows) if rows else np.empty((0, *x.shape[1:]), dtype=x.numpy().dtype)
        pixels = data.test_x if isinstance(data, PartitionedData) else x.numpy()
        return cls(pixels, y.numpy(), more, task or task_of(data), loss), places

    @property
    def cut(self) -> list[slice]:
        """The blocks, in their order: the test set's, then those of the rest."""
        m, k = len(self.x), len(self.more)
        ends = [(at, min(at + BLOCK, m)) for at in range(0, m, BLOCK)]
        ends += [(m + at, m + min(at + BLOCK, k)) for at in range(0, k, BLOCK)]
        return [slice(*of_block) for of_block in ends]

    def inputs(self, rows: slice) -> Tensor:
        """Return what a model is given of a block: a copy.  # [B, ...]"""
        m = len(self.x)
        own = self.more[rows.start - m : rows.stop - m] if rows.start >= m else self.x[rows]
        return inputs(own)

    def truth(self, rows: slice) -> Tensor:
        """Return a block's labels or targets; none outside of the test set.  # [B, ...]"""
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
        predicted: What the task keeps of the outputs: a class int64 [B], say, or all of them.  # [B, ...]
        loss: The sum of the examples' losses, float64; 0 where answers are the outputs, and outside of the
            test set.  # [1]
    """

    predicted: Tensor
    loss: Tensor

    def arrays(self) -> list[Array]:
        """Return (predicted, loss): what a block sends home."""
        return [self.predicted.numpy(), self.loss.numpy()]


class Answers:
    """Gathers the blocks' answers, in whatever order they come.

    Attributes:
        predicted: As in ``Answer``, of all examples.  # [m + k, ...]
        losses: As in ``Answer``, a block each.  # [blocks]
    """

    def __init__(self, examples: ScoredExamples) -> None:
        self._cut = examples.cut
        self.predicted = examples.task.blank_answers(len(examples.x) + len(examples.more))
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
        self._loss = examples.task.form(examples.loss).total
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
            outputs = self._outputs(self.examples.inputs(rows))  # [B, ...]
            return self._answer(outputs, rows)

    def _answer(self, outputs: Tensor, rows: slice) -> Answer:
        task, wanted = self.examples.task, (rows.stop - rows.start, *self.examples.task.outputs)
        if tuple(outputs.shape) != wanted:
            raise PluginError(f"the model gave {list(outputs.shape)} for examples of {list(wanted)} outputs")
        predicted, loss = task.task.answer(outputs), torch.zeros(1, dtype=torch.float64)
        if rows.start < len(self.examples.x) and not task.whole_outputs:
            loss = self._loss(outputs.double(), self.examples.truth(rows)).reshape(1)
        return Answer(predicted, loss)

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
