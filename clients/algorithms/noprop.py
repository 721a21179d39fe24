"""NoProp: each block of a model learns by itself to tell the label from the input and a noisy label.

Source: Li, Teh, Pascanu. NoProp: Training Neural Networks without Full Back-propagation or Full
Forward-propagation. arXiv:2503.24322 (NoProp-DT), of which abstract and third parties' code were read; the
recursion was derived anew. Clients that train and exchange some blocks alone are ours.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.contracts import LocalTraining, Part, Visit
from ...core.errors import ScenarioError
from ...core.layout import Layout
from ..models.denoising import NoPropNet
from ..models.normalized import Normalized
from .parts.local_sgd import Batch, descend
from .parts.stages import scaled


@dataclass(frozen=True)
class NoProp:
    """Local SGD in which block t sees z_{t-1} = sqrt(abar_{t-1}) u + sqrt(1 - abar_{t-1}) noise.

    u is the label, one-hot [C]. A block's loss is ||softmax - u||^2, of all blocks with weight 1 (a weight by
    how much signal a block adds would be a step size of its own, no more). In training neither gradients nor
    outputs pass from one block to another; a prediction goes through all of them. The model is ``noprop``
    with as many ``blocks``; a single linear layer is taken for one block that sees no z. Labels are classes.

    A block that reads the label from z learns little from x: look at what the first block alone says.

    Attributes:
        blocks: T, from 1 to 8.
        blocks_per_client: How many blocks a client receives, trains and sends, others in each round, drawn
            by the server; None: all.
        loss: ``"l2"``, the above; ``"cross_entropy"``, of each block's logits.
    """

    blocks: int = 3
    blocks_per_client: int | None = None
    loss: Literal["l2", "cross_entropy"] = "l2"

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= 8:
            raise ValueError(f"blocks must be from 1 to 8, got {self.blocks}")
        if self.blocks_per_client is not None and not 1 <= self.blocks_per_client <= self.blocks:
            raise ValueError(
                f"blocks_per_client must be from 1 to {self.blocks}, or left out; "
                f"got {self.blocks_per_client}"
            )
        if self.loss not in ("l2", "cross_entropy"):
            raise ValueError(f"loss must be l2 or cross_entropy, got {self.loss!r}")

    @property
    def weighs_alike(self) -> bool:
        """Whether clients have different blocks."""
        return self.blocks_per_client is not None

    @property
    def levels(self) -> Callable[..., Sequence[Part]] | None:
        """What ``Algorithms.levels`` says; None where every client has every block."""
        return None if self.blocks_per_client is None else self._parts

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def _parts(self, model: nn.Module, input_shape: tuple[int, ...]) -> Sequence[Part]:
        net = _net(model)
        if not isinstance(net, NoPropNet) or len(net.numbers) != self.blocks:
            came = len(net.numbers) if isinstance(net, NoPropNet) else type(net).__name__
            raise ScenarioError(f"noprop needs model noprop with blocks = {self.blocks}, got {came}")
        return [with_blocks(model, kept) for kept in self._sets]

    @property
    def _sets(self) -> list[tuple[int, ...]]:
        """Return which blocks each level has."""
        return list(combinations(range(1, self.blocks + 1), self.blocks_per_client or self.blocks))

    def level(self, client_id: int, num_clients: int, draw: Callable[[], np.random.Generator]) -> int:
        """Return which of the sets of blocks the client draws in the round, each as probable as any other."""
        return int(draw().integers(comb(self.blocks, self.blocks_per_client or self.blocks)))

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the update of the blocks' own steps, and the mean loss of the last block."""
        stream = visit.stream("noprop noise")

        def value(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            if batch.y.is_floating_point() or batch.y.ndim != 1:
                raise ValueError("noprop needs labels, one class an example; got other targets")
            logits = self._logits(model, batch, stream)
            total = sum((self.block_loss(one, batch.y) for one in logits), torch.zeros(()))
            return total, visit.loss(logits[-1], batch.y)

        local, loss = descend(visit, value)
        return local - visit.received, loss

    def _logits(self, model: nn.Module, batch: Batch, stream: np.random.Generator) -> list[Tensor]:
        """Return what each block makes of the inputs and its own noisy labels.  # [B, C] each"""
        net = _net(model)
        if isinstance(net, nn.Linear):
            return [model(batch.x)]
        if not isinstance(net, NoPropNet) or len(net.signal) != self.blocks + 1:
            raise ValueError(
                f"noprop needs model noprop with blocks = {self.blocks}, got {type(net).__name__}"
                + (f" of {len(net.signal) - 1}" if isinstance(net, NoPropNet) else "")
            )
        shape = self.blocks, len(batch.y), net.draws.shape[1]
        noise = torch.from_numpy(stream.standard_normal(shape, dtype=np.float32))  # of absent blocks, too
        label, x = F.one_hot(batch.y, shape[2]).float(), scaled(model, batch.x)
        return [net.blocks[str(t)](x, noisy(label, net.signal[t - 1], noise[t - 1])) for t in net.numbers]

    def block_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return a block's mean loss over a batch, [], of logits [B, C] and labels [B]."""
        if self.loss == "cross_entropy":
            return F.cross_entropy(logits, labels)
        off = logits.softmax(dim=1) - F.one_hot(labels, logits.shape[1])
        return off.square().sum(dim=1).mean()

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None) -> tuple[Tensor, None]:
        """Add the aggregate."""
        return params + aggregate, state


def noisy(label: Tensor, signal: float, noise: Tensor) -> Tensor:
    """Return z, of which the share ``signal`` of the variance is the label.  # [B, C], as both"""
    return sqrt(signal) * label + sqrt(1 - signal) * noise


def with_blocks(model: nn.Module, kept: Sequence[int]) -> Part:
    """Return a copy of a model of ``NoPropNet`` with these blocks alone, and what it has of the whole one."""
    small, names = deepcopy(model), OrderedDict[str, Tensor]()
    for slot in Layout.of(model).parameters:
        number = int(slot.name.removeprefix("net.").split(".")[1])
        names[slot.name] = torch.full(slot.shape, number in kept).float()
    net = _net(small)
    assert isinstance(net, NoPropNet)
    for t in net.numbers:
        if t not in kept:
            del net.blocks[str(t)]
    return Part(small, Layout.of(model).flatten(names).bool())


def _net(model: nn.Module) -> nn.Module:
    return model.net if isinstance(model, Normalized) else model
