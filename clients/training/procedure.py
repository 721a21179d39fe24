"""Clients whose algorithm is a procedure of its own: one after the other, each with a view of itself.

A gradient is taken on the kernel's own model, whose parameters are views of one flat vector; each example's
gradient by ``torch.func``. The model is in evaluation mode: a procedure differentiates a likelihood, and
dropout has no part in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from ...core.contracts import CodecStreams, LocalProcedure, LocalTraining, Worked
from ...core.declarations import Algorithms, declared
from ...core.directions import Directions
from ...core.layout import Layout
from ...core.seeds import generator
from ...core.updates import Updates
from ..exchange.exchange import Exchange
from .minibatches import minibatches
from .replicated import ReplicatedExamples

if TYPE_CHECKING:
    from ...core.trees import State
    from ..data.base import FederatedData
    from ..exchange.messages import Broadcast

Array = np.ndarray[Any, Any]
Examples = Callable[[int, int], tuple[Tensor, Tensor]]
"""From a client and a round to the examples that it holds then."""


@dataclass(frozen=True, eq=False)
class ClientVisit:
    """A ``core.contracts.Visit`` on a kernel's model.

    Attributes:
        visits: Whoever makes the visit.
        x, y: The client's examples.
        shared, own: What the server sent besides and what the client remembers, by tensor.
        known: Where a gradient may have been taken before, of examples that are replicated.
        Others: See ``Visit``.
    """

    visits: Visits
    round: int
    client_id: int
    received: Tensor
    extra: Tensor
    x: Tensor
    y: Tensor
    memory: State = None
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, Tensor] = field(default_factory=dict)
    known: ReplicatedExamples | None = None

    @property
    def message_length(self) -> int:
        """M."""
        return self.visits.exchange.up.num_parameters

    @property
    def memory_length(self) -> int:
        """S."""
        return self.visits.exchange.memory.num_parameters

    @property
    def num_clients(self) -> int:
        return self.visits.num_clients

    @property
    def num_examples(self) -> int:
        return len(self.y)

    def of(self, client_id: int) -> ClientVisit:
        return self.visits.replicated.of(self, client_id)

    def gradient(self, params: Tensor, rows: Array | None = None) -> tuple[Tensor, Tensor]:
        def taken() -> tuple[Tensor, Tensor]:
            x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
            return self.visits.gradient(params, x, y)

        return taken() if self.known is None else self.known.gradient(self.client_id, params, rows, taken)

    def example_gradients(self, params: Tensor, rows: Array, targets: Tensor | None = None) -> Tensor:
        y = self.y[rows] if targets is None else targets
        found: Tensor = self.visits.each_gradient(params, self.x[rows], y)
        return found.detach()

    def outputs(self, params: Tensor, rows: Array) -> Tensor:
        return self.visits.outputs(params, self.x[rows])

    def losses(self, params: Tensor, rows: Array | None = None) -> Tensor:
        x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
        return self.visits.losses(params, x, y)

    def slope(self, params: Tensor, direction: Tensor, rows: Array | None = None) -> tuple[Tensor, Tensor]:
        x, y = (self.x, self.y) if rows is None else self.examples(rows)
        return self.visits.slope(params, direction, x, y)

    @property
    def training(self) -> LocalTraining:
        return self.visits.training

    @property
    def layout(self) -> Layout:
        return self.visits.layout

    def batches(self) -> list[Array]:
        return minibatches(self.num_examples, self.training, self.stream("batches"))

    def examples(self, rows: Array) -> tuple[Tensor, Tensor]:
        return self.x[rows], self.y[rows]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.visits.loss(outputs, targets)

    def differentiated(
        self, params: Tensor, value: Callable[[nn.Module], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        return self.visits.differentiated(params, value)

    def directions(self, count: int, pool: int | None = None) -> Directions:
        public = CodecStreams(self.visits.seed, self.round).public_seed
        return Directions(public, self.round, self.client_id, count, len(self.received), pool)

    def stream(self, purpose: str) -> np.random.Generator:
        return generator(self.visits.seed, purpose, self.round, self.client_id)

    def noise_stream(self, purpose: str) -> np.random.Generator:
        return generator(self.visits.noise_seed, purpose, self.round, self.client_id)


class Visits:
    """Run a procedure on the clients of a block."""

    def __init__(
        self,
        rule: LocalProcedure,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        flat: tuple[Tensor, Tensor],
        seed: int,
        data: FederatedData,
        examples: Examples,
        noise_seed: int | None = None,
        exchange: Exchange | None = None,
        training: LocalTraining | None = None,
    ) -> None:
        """Take the kernel's ingredients.

        Args:
            rule: The algorithm.
            model: The kernel's model, still with its initial weights.
            loss: Mean loss of a batch, from the model's output and the labels.
            flat: The vectors of which the model's parameters and their gradients are views.  # [P] both
            seed: The run's seed.
            data: The clients' data, for the size of the population.
            examples: What a client holds in a round.
            noise_seed: What the noise of privacy follows from; by default ``seed``.
            exchange: What clients send, receive and remember; by default updates, parameters and nothing.
            training: How clients train, as the rule schedules it; by default as a scenario that says nothing.
        """
        self.noise_seed = seed if noise_seed is None else noise_seed
        self._rule, self._model, self.loss = rule, model, loss
        self.training = training or LocalTraining()
        self._local, self._gradient = flat
        self._data, self._examples, self.seed = data, examples, seed
        self.layout = Layout.of(model)
        self.exchange = exchange or Exchange(self.layout, self.layout, self.layout, Layout(()), {})
        self._start = self.layout.flatten(dict(model.named_parameters()))  # [P]
        self.replicated = self._nothing_replicated()  # other clients' examples, of one block
        self._memories: dict[int, State] = {}  # of this process; any other one works out the same

    @property
    def num_clients(self) -> int:
        return self._data.num_clients

    def train(self, broadcast: Broadcast, client_ids: Array) -> tuple[Updates, Tensor, Tensor]:
        """Return what the clients send [K, M] and state, their losses [K], and what they remember [K, S]."""
        exchange, size = self.exchange, len(client_ids)
        vectors = torch.empty(size, exchange.up.num_parameters)  # [K, M]
        memory = torch.empty(size, exchange.memory.num_parameters)  # [K, S]
        facts = torch.empty(size, len(exchange.statement), dtype=torch.float64)  # [K, F]
        losses, counts = torch.empty(size), torch.empty(size, dtype=torch.int64)
        shared = exchange.told(broadcast.extra)
        self._model.eval()
        self.replicated = self._nothing_replicated()
        for row, client_id in enumerate(client_ids.tolist()):
            visit = self._visit(client_id, broadcast, shared, row)
            came = self._rule.work(visit)
            worked = came if isinstance(came, Worked) else Worked(*came)
            vectors[row], losses[row] = exchange.sent(worked.message), worked.loss
            if worked.memory is not None:
                memory[row] = worked.memory
            if exchange.statement:
                facts[row] = exchange.statement.rows("work", worked.facts, 1)[0]
            counts[row] = visit.num_examples if worked.examples is None else worked.examples
        return Updates(vectors, torch.from_numpy(client_ids), counts, facts=facts), losses, memory

    def _nothing_replicated(self) -> ReplicatedExamples:
        return ReplicatedExamples(self._rule, self.num_clients, self.layout.num_parameters)

    def examples_of(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return what a client was dealt, poisoned where it attacks."""
        return self._examples(client_id, round_)

    def _visit(
        self, client_id: int, broadcast: Broadcast, shared: Mapping[str, Tensor], row: int
    ) -> ClientVisit:
        """Return the visit of the client in a row of the block, to a procedure that may change none of it."""
        x, y = self._examples(client_id, broadcast.round)
        told = self._memory(client_id, broadcast)
        remembers = bool(self.exchange.memory.parameters)
        own = self.exchange.memory.views(broadcast.memory[row].clone()) if remembers else {}
        where = broadcast.round, client_id, broadcast.params, broadcast.extra
        return ClientVisit(self, *where, x, y, told, shared, own)

    def _memory(self, client_id: int, broadcast: Broadcast) -> State:
        """Return what the client worked out once: the same in any process, whenever it is first asked."""
        prepare = declared(self._rule, Algorithms.prepare)
        if prepare is None:
            return None
        if client_id not in self._memories:
            x, y = self._examples(client_id, 0)
            nothing = torch.zeros_like(broadcast.extra)
            visit = ClientVisit(self, 0, client_id, self._start, nothing, x, y)
            self._memories[client_id] = prepare(visit)
        return self._memories[client_id]

    def gradient(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of the mean loss at ``params`` [P], and that loss."""

        def value(model: nn.Module) -> tuple[Tensor, Tensor]:
            loss = self.loss(model(x), y)
            return loss, loss

        return self.differentiated(params, value)

    def differentiated(
        self, params: Tensor, value: Callable[[nn.Module], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of a number that is made of the model at ``params`` [P], and what it says."""
        self._local.copy_(params)
        self._gradient.zero_()
        number, said = value(self._model)
        torch.autograd.backward(number)
        return self._gradient.clone(), said.detach()

    def losses(self, candidates: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss of each of some parameters [L, P].  # [L]"""
        found = torch.empty(len(candidates))
        with torch.no_grad():
            for number, params in enumerate(candidates):
                self._local.copy_(params)
                found[number] = self.loss(self._model(x), y)
        return found

    def slope(self, params: Tensor, direction: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivative of the mean loss along a direction [P], and that loss; [] both."""

        def value(at: Tensor) -> Tensor:
            return self.loss(functional_call(self._model, self.layout.views(at), (x,)), y)

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own, at the first use of jvp
            both: tuple[Tensor, Tensor] = jvp(value, (params,), (direction,))[:2]
        return both[1], both[0]

    def outputs(self, params: Tensor, x: Tensor) -> Tensor:
        """Return what the model makes of inputs at ``params`` [P], without gradient.  # [B, ...]"""
        with torch.no_grad():
            self._local.copy_(params)
            found: Tensor = self._model(x)
        return found

    @cached_property
    def each_gradient(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """From parameters [P], inputs and labels to each example's gradient [B, P]."""

        def one(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
            named = self.layout.views(params)
            return self.loss(functional_call(self._model, named, (x[None],)), y[None])

        found: Callable[[Tensor, Tensor, Tensor], Tensor] = vmap(grad(one), in_dims=(None, 0, 0))
        return found
