"""Models of the clients' own: each client trains one besides the model that it was sent, and keeps it.

Batches and dropout come from streams of their own, so that what a client sends is what it would send without.
Nobody twists these steps, and no mechanism makes them private: nothing of them leaves the client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.declarations import name_of
from ...core.guards import guard
from ...core.layout import Layout
from ...core.replies import REPLIES
from ...core.seeds import generator
from ..exchange.exchange import PERSONAL
from .alone import LoneTraining
from .minibatches import minibatches
from .stacked import train_stacked

if TYPE_CHECKING:
    from ...core.contracts import LocalRule, LocalTraining
    from ..tracing.losses import Loss
    from ..tracing.stack_step import StackedStep
    from .block import Block
    from .shelf import Shelf

Array = np.ndarray[Any, Any]
Examples = Callable[[int], tuple[Tensor, Tensor]]


class PersonalTraining:
    """Train clients' own models, stacked or one at a time as the others are."""

    def __init__(
        self,
        rule: LocalRule,
        training: LocalTraining,
        model: nn.Module,
        loss: Loss,
        seed: int,
        device: str = "cpu",
        step: StackedStep | None = None,
        height: int = 1,
        num_outputs: int = 0,
        arrange: bool = False,
    ) -> None:
        """Take what stays the same.

        Args:
            rule: The rule of these models.
            training: The run's training; the rule may change it.
            model: A model, which is copied.
            loss: Mean loss of a batch, where clients are trained one at a time.
            seed: The run's seed.
            device: Where clients train.
            step: Differentiates a stack; None trains one client at a time.
            height: How many clients to stack at most.
            num_outputs: The outputs of an example, or of a position.
            arrange: Whether pictures are laid out channels last where clients are trained one at a time.
        """
        rule = guard(rule, f"personal rule {name_of(rule)}", REPLIES["algorithms"])
        self._rule, self._how, self._seed = rule, rule.schedule(training), seed
        self._layout, self._step, self._height, self._outputs = Layout.of(model), step, height, num_outputs
        how = self._rule, self._how, loss, device, arrange
        self._alone = LoneTraining(deepcopy(model), *how) if step is None else None

    def train(
        self,
        block: Block,
        part: slice,
        examples: Examples,
        shelf: Shelf | None = None,
        places: Sequence[Array] = (),
    ) -> Tensor:
        """Return the models of some clients of a block after training.  # [k, P]

        Args:
            block: Who trains, and from what.
            part: Which of its clients.
            examples: From a client to its examples.
            shelf: Where they lie, if they lie together.
            places: The rows of the shelf that hold each client's.
        """
        own = block.own(part)
        assert own is not None, "models of the clients' own are remembered"
        before, trained = own[PERSONAL], torch.empty_like(own[PERSONAL])
        if self._step is None or shelf is None:
            for row, client in enumerate(block.ids[part]):
                self._train_alone(block, client, before[row], examples(client), trained[row])
            return trained
        ids, round_ = block.ids[part], block.sent.round
        for rows in np.array_split(np.arange(len(ids)), -(-len(ids) // self._height)):
            some = slice(rows[0], rows[-1] + 1)
            chosen = zip(ids[some], places[some], strict=True)
            batches = [self._batches(i, round_, len(place)) for i, place in chosen]
            how = self._step, self._layout, self._rule, self._how, block.sent.params, shelf, places[some]
            streams = [self._dropout(i, round_) for i in ids[some]]
            train_stacked(*how, batches, self._outputs, trained[some], (), streams, start=before[some])
        return trained

    def _train_alone(
        self, block: Block, client: int, before: Tensor, examples: tuple[Tensor, Tensor], trained: Tensor
    ) -> None:
        assert self._alone is not None
        batches = self._batches(client, block.sent.round, len(examples[1]))
        dropout = self._dropout(client, block.sent.round)()
        how = None, trained, block.sent.buffers.clone()
        self._alone.train(block.sent, examples, batches, dropout, *how, start=before)

    def _batches(self, client: int, round_: int, num_examples: int) -> list[Array]:
        stream = generator(self._seed, "personal batches", round_, client)
        return minibatches(num_examples, self._how, stream)

    def _dropout(self, client: int, round_: int) -> Callable[[], np.random.Generator]:
        return partial(generator, self._seed, "personal dropout", round_, client)
