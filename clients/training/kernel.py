"""Local training of one block of clients, stacked or one at a time: what a worker does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import DataAttack, ExamplePrivacy, LocalProcedure, LocalRule, LocalTraining, Privacy
from ...core.declarations import Algorithms, declared, works_in_steps
from ...core.guards import from_outside
from ...core.layout import Layout
from ...core.observation import Truth
from ...core.seeds import generator
from ...core.untouched import untouched
from ...core.updates import Updates, row_norms
from ..exchange.exchange import exchange_of
from ..exchange.levels import ALL_LABELS, EveryLabel, HeldLabels
from ..exchange.messages import Broadcast, Summed, Trained
from ..placement.device import reproducible
from ..placement.memory import keep_freed_memory
from ..tasks.fitted import FittedTask, task_of
from ..tracing.channels_last import takes_channels_last
from ..tracing.stack_step import StackedStep
from .added_loss import added_loss_of
from .alone import LoneTraining
from .block import Block, BlockResult
from .by_example import PrivateTraining, Trainee
from .defending import altered, defending_of
from .minibatches import minibatches, poisson_batches, shuffled_batches, step_sampling
from .personal import PersonalTraining
from .privatizing import privatized
from .procedure import Visits
from .round_examples import RoundExamples
from .stacked import full_gradients, train_stacked
from .sums import summed

if TYPE_CHECKING:
    from ...core.roles import Role
    from ..data.base import FederatedData
    from ..tracing.losses import Loss
    from .shelf import Shelf
    from .step import Steer

Array = np.ndarray[Any, Any]
Counts = Callable[[Tensor], Tensor]
"""From examples [K] to what each client counts in a sum [K], float64."""

TRAINING = "local training (the algorithm, or an attack that steers it)"


class BlockKernel:
    """Train blocks of clients, all with the same model, rule and data."""

    def __init__(
        self,
        data: FederatedData,
        model: nn.Module,
        rule: LocalRule | LocalProcedure,
        training: LocalTraining,
        privacy: Privacy,
        poisons: tuple[Role[DataAttack], ...],
        seed: int,
        loss: Loss | None = None,
        height: int = 1,
        counts: Counts | None = None,
        steers: tuple[Role[Any], ...] = (),
        device: str = "cpu",
        compiled: bool = False,
        noise_seed: int | None = None,
        labels: EveryLabel | HeldLabels = ALL_LABELS,
        defense: object = None,
        task: FittedTask | None = None,
    ) -> None:
        """Take the run's ingredients.

        Args:
            data: The clients' examples.
            model: A model of its own; its parameters are changed by training.
            rule: The algorithm; one with a procedure of its own runs clients one at a time.
            training: How clients run SGD; the rule may change it.
            privacy: What honest clients do to their update before it leaves the house.
            poisons: Attacks on examples, and who runs them.
            seed: The run's seed.
            loss: Mean loss of a batch, where clients are trained one at a time; by default the one that
                ``training`` names.
            height: How many clients are trained as one batched computation, with the loss that ``training``
                names; 1 trains one at a time.
            counts: What each client counts where sums are formed here; None where they never are.
            steers: Attacks on updates that also ``steer`` the training of the clients that run them.
            device: Where clients train; algorithms with a procedure of their own and example privacy want the
                CPU.
            compiled: Whether the step of a stack is compiled.
            noise_seed: What the noise of privacy follows from; by default ``seed``.
            labels: Which labels each client holds, where those alone count in its loss and message.
            defense: The clients' own defense against leakage, or None.
            task: What is learnt; by default what the data are made for.
        """
        self._steers: list[tuple[Role[Any], Steer]] = [(role, role.attack.steer) for role in steers]
        self.data, self.model, self.rule = data, model, cast(LocalRule, rule)
        self.training, self.privacy = rule.schedule(training), privacy
        task = task or task_of(data)
        form, self._outputs = task.form(self.training.loss), task.num_outputs
        self.seed, self.loss, self._counts = seed, loss or form.mean, counts
        self._noise_seed = seed if noise_seed is None else noise_seed
        self.layout, self._device = Layout.of(model), device
        arrange = height == 1 and device == "cpu" and takes_channels_last(model, data.input_shape)
        self.exchange = exchange_of(rule, self.layout, self.training)
        added = added_loss_of(rule, self.exchange, model, data)
        self._alone = LoneTraining(model, self.rule, self.training, self.loss, device, arrange, added)
        self._full_gradient = bool(declared(rule, Algorithms.full_gradient))
        self._takes = declared(rule, Algorithms.takes_steps)
        names = [slot.name for slot in self.layout.parameters]
        self._stacked = StackedStep(model, names, form, compiled, added) if height > 1 else None
        self._personal: PersonalTraining | None = None
        if (own := declared(rule, Algorithms.personal)) is not None:
            step = StackedStep(model, names, form, compiled) if self._stacked and added else None
            stack = step or self._stacked, height, self._outputs, arrange
            self._personal = PersonalTraining(own, training, model, self.loss, seed, device, *stack)
        self._examples: ExamplePrivacy | None = None
        if works_in_steps(privacy):
            self._examples = cast(ExamplePrivacy, privacy)
            how = self._examples, data, height, added, task
            self._private = PrivateTraining(model, self.layout, self.rule, self.training, *how)
        self._defending = defending_of(defense, model, seed, self.examples, self.batches)
        self._height = height
        self._watched = any(map(from_outside, (rule, *(role.attack for role in steers))))
        self._labels, alter = labels, altered(defense, seed)
        self._sources = RoundExamples(data, poisons, seed, device, labels, model, alter)
        self.visits: Visits | None = None
        if declared(rule, Algorithms.work):
            flat, procedure = (self._alone.local, self._alone.gradient), cast(LocalProcedure, rule)
            told = data, self.examples, self._noise_seed, self.exchange, self.training
            self.visits = Visits(procedure, model, self.loss, flat, seed, *told)
        keep_freed_memory()

    def train(
        self, broadcast: Broadcast, client_ids: Array, homes: tuple[Tensor, Tensor] | None = None
    ) -> Trained:
        """Return the block's updates in ascending client id, and its losses.

        Args:
            broadcast: What the server sent.
            client_ids: The block's clients, ascending.
            homes: Where messages [K, M] and memory [K, S] may be made at once, on a CPU, to save a copy.
        """
        updates, losses, memory = self._train(broadcast, client_ids, homes)
        private = self._privatize(broadcast, updates)
        norms = row_norms(updates.vectors)
        sent = norms if private.vectors is updates.vectors else row_norms(private.vectors)
        return Trained(private, losses, norms, sent, memory)

    def _privatize(self, broadcast: Broadcast, updates: Updates) -> Updates:
        how = self.exchange.up, self.seed, self._noise_seed
        return self._labels.restricted(privatized(self.privacy, updates, broadcast, *how))

    def _train(
        self, broadcast: Broadcast, client_ids: Array, homes: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Updates, Tensor, Tensor]:
        """Return what the clients would send, their losses [K], and what they would remember [K, S]."""
        client_ids = client_ids.astype(np.int64)
        self._sources.receive(broadcast)
        if self.visits is not None:
            with untouched(TRAINING, *[broadcast] * self._watched):
                return self.visits.train(broadcast, client_ids)
        train = self._one_by_one if self._stacked is None else self._all_at_once
        train = train if self._examples is None else self._in_private
        with reproducible(self._device), untouched(TRAINING, *[broadcast] * self._watched):
            who = client_ids.tolist(), self._device
            theirs = self._sources.retrained if self._sources.retrain else None
            block = Block(self.exchange, self.training, broadcast, *who, homes, self._defending, theirs)
            trained = train(block)
        ids, messages = torch.from_numpy(client_ids), block.messages.cpu()
        updates = Updates(messages, ids, trained.counts, buffers=trained.buffers, facts=block.facts)
        return self._labels.restricted(updates), trained.losses.cpu(), block.memory.cpu()

    def train_sum(self, broadcast: Broadcast, client_ids: Array) -> Summed:
        """Return the block's weighted sum, non-finite updates left out.

        Args:
            broadcast: What the server sent.
            client_ids: The block's clients, ascending.
        """
        assert self._counts is not None
        updates, losses, _ = self._train(broadcast, client_ids)
        privatize = partial(self._privatize, broadcast)
        return summed(updates, losses, self._counts(updates.num_examples), self.privacy, privatize)

    def _all_at_once(self, block: Block) -> BlockResult:
        assert self._stacked is not None
        ids, round_ = block.ids, block.sent.round
        shelf, places = self._sources.shelf_of(ids, round_)
        batches = [self.batches(i, round_, len(p)) for i, p in zip(ids, places, strict=True)]
        steers = [self.steer(i, round_) for i in ids]
        losses, streams = torch.empty(len(ids), device=self._device), self._streams_of(ids, round_, "dropout")
        whole = self._streams_of(ids, round_, "full gradient dropout")
        how = self._stacked, self.layout, self.rule, self.training, block.sent.params, shelf
        outputs, whole_loss = self._outputs, None
        for rows in np.array_split(np.arange(len(ids)), -(-len(ids) // self._height)):
            part = slice(rows[0], rows[-1] + 1)
            if self._full_gradient:
                whole_of = whole[part], block.own(part)
                whole_loss = full_gradients(*how[:2], *how[4:], places[part], outputs, *whole_of)
            told = steers[part], streams[part], block.shared, block.own(part)
            losses[part] = train_stacked(
                *how, places[part], batches[part], outputs, block.update[part], *told
            )
            own = self._own_models(block, part, shelf, places[part])
            block.finish(part, [len(b) for b in batches[part]], whole_loss, own)
        counts = torch.tensor([len(place) for place in places])
        return BlockResult(counts, losses, torch.zeros(len(ids), 0))

    def _streams_of(
        self, ids: list[int], round_: int, purpose: str
    ) -> list[Callable[[], np.random.Generator]]:
        return [partial(generator, self.seed, purpose, round_, client_id) for client_id in ids]

    def _in_private(self, block: Block) -> BlockResult:
        assert self._examples is not None
        ids, round_ = block.ids, block.sent.round
        shelf, places = self._sources.shelf_of(ids, round_)
        clients = []
        for client_id, rows in zip(ids, places, strict=True):
            batches = self.batches(client_id, round_, len(rows))
            known = step_sampling(self.data.num_examples(client_id), self.training, self._examples.poisson)
            trainee = Trainee(
                rows=rows,
                batches=batches,
                sizes=[known.size if self._examples.poisson else len(batch) for batch in batches],
                steer=self.steer(client_id, round_),
                noise=generator(self._noise_seed, "example noise", round_, client_id),
                dropout=partial(self._dropout, client_id, round_),
            )
            clients.append(trainee)
        everybody = slice(None)
        losses = self._private.train(
            block.sent.params, shelf, clients, block.update, block.shared, block.own(everybody)
        )
        own = self._own_models(block, everybody, shelf, places)
        block.finish(everybody, [len(client.batches) for client in clients], personal=own)
        counts = torch.tensor([len(rows) for rows in places])
        return BlockResult(counts, losses, torch.zeros(len(ids), 0))

    def _one_by_one(self, block: Block) -> BlockResult:
        round_, size = block.sent.round, len(block.ids)
        losses, buffers = torch.empty(size), torch.empty(size, self.layout.num_buffers)  # [K], [K, Q]
        counts, whole_loss = torch.empty(size, dtype=torch.int64), None
        for row, client_id in enumerate(block.ids):
            here = slice(row, row + 1)
            walk = partial(self.batches, client_id, round_)
            counts[row], examples, batches = self._sources.taken(client_id, round_, walk)
            if self._full_gradient:
                stream = generator(self.seed, "full gradient dropout", round_, client_id)
                whole = self.examples(client_id, round_)
                whole_loss = self._alone.full_gradient(block.sent, whole, stream, block.own(here))
            losses[row] = self._alone.train(
                block.sent,
                examples,
                batches,
                self._dropout(client_id, round_),
                self.steer(client_id, round_),
                block.update[row],
                buffers[row],
                block.shared,
                block.own(here),
                held=self._labels.counted(client_id),
            )
            block.finish(here, [len(batches)], whole_loss, self._own_models(block, here))
        return BlockResult(counts, losses, buffers)

    def _own_models(
        self, block: Block, part: slice, shelf: Shelf | None = None, places: Sequence[Array] = ()
    ) -> Tensor | None:
        """Return the own models of some clients after training, where they have some.  # [k, P]"""
        if self._personal is None:
            return None
        examples = partial(self.examples, round_=block.sent.round)
        return self._personal.train(block, part, examples, shelf, places)

    def _dropout(self, client_id: int, round_: int) -> np.random.Generator:
        return generator(self.seed, "dropout", round_, client_id)

    def examples(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return what the client trains on in this round: its own examples, poisoned if it attacks."""
        return self._sources.of(client_id, round_)

    def steer(self, client_id: int, round_: int) -> Steer | None:
        """Return how the client twists the gradients of its local steps in this round, if it does."""
        for role, steer in self._steers:
            if client_id in role.attackers(round_):
                return steer
        return None

    def batches(self, client_id: int, round_: int, num_examples: int) -> list[Array]:
        """Return the rows of each of the client's local steps in this round."""
        stream = generator(self.seed, "batches", round_, client_id)
        if self._examples is None:
            planned = minibatches(num_examples, self.training, stream)
        else:
            draw = poisson_batches if self._examples.poisson else shuffled_batches
            planned = draw(num_examples, self.data.num_examples(client_id), self.training, stream)
        if self._takes is None:
            return planned
        chance = partial(generator, self.seed, "steps taken", round_, client_id)
        return planned[: self._takes(len(planned), chance)]

    def truth(self, client_id: int, round_: int) -> Truth:
        """Return the examples behind the client's update, each once, for a scorer's eyes only."""
        return self._sources.truth(client_id, round_, partial(self.batches, client_id, round_))
