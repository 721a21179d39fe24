"""Local training in which every step is private: clipped example by example, summed, noised.

Clients are stacked as in ``stacked.py``. Each one's batches, dropout and noise come from streams of its own,
so that whoever else is in the stack changes nothing but the rounding.

Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang. Deep Learning with Differential Privacy. CCS
2016, Algorithm 1. arXiv:1607.00133
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.declarations import ClientData, declared
from ...core.errors import ScenarioError
from ...core.seeds import normal, torch_generator
from ..data.blank import input_dtype
from ..placement.stackable import can_stack
from ..tasks.fitted import FittedTask, task_of
from ..tracing.dropout import Masks
from ..tracing.example_gradients import ExampleGradient, squares_of
from ..tracing.example_step import ExampleStep
from .stacked import _bucket, apart
from .step import LocalStep, Steer

if TYPE_CHECKING:
    from ...core.contracts import ExamplePrivacy, Groups, LocalRule, LocalTraining
    from ...core.layout import Layout
    from ..data.base import FederatedData
    from .added_loss import AddedLoss
    from .shelf import Shelf

Array = np.ndarray[Any, Any]
MOST = 64  # examples of all clients of a stack in one step: more outgrow a CPU's cache


@dataclass(frozen=True)
class Trainee:
    """One client in one round.

    Attributes:
        rows: Where its examples lie on the shelf.
        batches: Which of them each local step takes; possibly none.
        sizes: What each local step's sum is divided by, above 0: its batch's expected number of examples.
        steer: How it twists its gradients, if it does.
        noise: Its stream of noise.
        dropout: Makes its stream of dropout.
    """

    rows: Array
    batches: Sequence[Array]
    sizes: Sequence[float]
    steer: Steer | None
    noise: np.random.Generator
    dropout: Callable[[], np.random.Generator]


class PrivateTraining:
    """Train stacks of clients with one model and rule."""

    def __init__(
        self,
        model: nn.Module,
        layout: Layout,
        rule: LocalRule,
        how: LocalTraining,
        privacy: ExamplePrivacy,
        data: FederatedData,
        height: int,
        added: AddedLoss | None = None,
        task: FittedTask | None = None,
    ) -> None:
        """Take what stays the same.

        Args:
            model: A model of which no example sees another.
            layout: How the parameters lie in a vector.
            rule: The algorithm.
            how: The training it schedules.
            privacy: What happens to a step's gradients.
            data: The clients' examples.
            height: How many clients to stack at most.
            added: What the algorithm adds to the loss.
            task: What is learnt; by default what the data are made for.

        Raises:
            ScenarioError: A model that mixes its examples, or that cannot be differentiated one by one.
        """
        dtype = input_dtype(declared(data, ClientData.num_tokens))
        if obstacle := can_stack(model, declared(data, ClientData.input_shape), dtype):
            raise ScenarioError(f"privacy for examples needs the gradient of each one alone: {obstacle}")
        task = task or task_of(data)
        names = [slot.name for slot in layout.parameters]
        self._step = ExampleStep(model, names, task.form(how.loss), added)
        self._layout, self._rule, self._how, self._privacy = layout, rule, how, privacy
        self._sizes = [slot.size for slot in layout.parameters]
        self._height = max(1, min(height, MOST // how.batch_size)) if how.batch_size else 1
        self._num_outputs = task.num_outputs

    def train(
        self,
        received: Tensor,
        shelf: Shelf,
        clients: Sequence[Trainee],
        update: Tensor,
        shared: Groups | None = None,
        own: Groups | None = None,
    ) -> Tensor:
        """Write the clients' updates, and return each one's mean loss over its local steps [K].

        Args:
            received: The broadcast parameters.  # [P]
            shelf: Where the examples lie.
            clients: Who trains.
            update: Where the updates belong.  # [K, P]
            shared: What the server sent besides, for a rule that exchanges more than parameters.  # [P] each
            own: What the clients remember, likewise.  # [K, P] each
        """
        losses = torch.empty(len(clients))
        for rows in np.array_split(np.arange(len(clients)), -(-len(clients) // self._height)):
            order = sorted(rows.tolist(), key=lambda k: -len(clients[k].batches))  # stable: longest first
            besides = ([] if shared is None else [shared], [] if own is None else [_ordered(own, order)])
            with torch.no_grad():
                update[order], losses[order] = self._stack(
                    received, shelf, [clients[k] for k in order], *besides
                )
        return losses

    def _stack(
        self,
        received: Tensor,
        shelf: Shelf,
        clients: Sequence[Trainee],
        shared: Sequence[Groups],
        own: Sequence[Groups],
    ) -> tuple[Tensor, Tensor]:
        local = received.expand(len(clients), -1).clone()  # [K, P]
        losses, steers = torch.zeros(len(clients)), [client.steer for client in clients]
        step = LocalStep(self._rule, self._how, [received], [local], steers, shared, own)
        begun = list(self._layout.views(received).values())
        kept = apart(self._layout, own[0]) if own else []
        draw = self._dropout(shelf, clients)
        steps = [len(client.batches) for client in clients]
        for s in range(steps[0]):
            going = [client for client, most in zip(clients, steps, strict=True) if most > s]
            chosen = [client.batches[s] for client in going]
            height = min(len(clients), _bucket(len(going)))  # those between are done: computed and not used
            rows, targets = self._padded(going, chosen, height, shelf)
            masks = [mask[:, : rows.shape[1]] for mask in draw(chosen, height)]
            params = list(self._layout.views(local[:height]).values())
            added = self._step.added
            frozen = added.models(begun, kept, height) if added else ()
            gradients, values = self._step(params, shelf.take(rows), targets, masks, frozen)
            sizes = torch.tensor([client.sizes[s] for client in going])
            losses[: len(going)] += values[: len(going)].sum(dim=1) / sizes
            total = torch.zeros(height, len(received))
            self._add_noise(total, going, sizes)
            self._add_clipped(total, gradients, sizes, _filled(chosen, rows))
            step.descend([total], len(going))
        return local.sub_(received), losses / torch.tensor(steps)

    def _dropout(
        self, shelf: Shelf, clients: Sequence[Trainee]
    ) -> Callable[[Sequence[Array], int], list[Tensor]]:
        """Return what draws the first clients' masks for the batches that they chose."""
        drops = self._step.drops(shelf.x.shape[1:], shelf.dtype)
        widest = max(len(chosen) for client in clients for chosen in client.batches)
        streams = [torch_generator(client.dropout()) for client in clients] if drops else []
        masks = Masks(drops, streams, _width(max(widest, 1)))
        return lambda chosen, height: masks.draw([len(rows) for rows in chosen], height)

    def _padded(
        self, clients: Sequence[Trainee], chosen: Sequence[Array], height: int, shelf: Shelf
    ) -> tuple[Tensor, Tensor]:
        """Return rows of the shelf [H, B], and targets as ``ExampleStep`` takes them."""
        width = _width(max(1, *(len(rows) for rows in chosen)))
        rows = np.zeros((height, width), dtype=np.int64)
        there = np.zeros((height, width), dtype=np.float32)
        for n, (client, batch) in enumerate(zip(clients, chosen, strict=True)):
            rows[n, : len(batch)] = client.rows[batch]
            there[n, : len(batch)] = 1
        places, weights = torch.from_numpy(rows), torch.from_numpy(there)
        targets = self._step.form.targets(shelf.y[places], weights, self._num_outputs)
        return places, shelf.labelled(targets, places)

    def _add_noise(self, total: Tensor, clients: Sequence[Trainee], sizes: Tensor) -> None:
        """Add each client's noise over the size of its batch to its row of ``total`` [H, P]."""
        std = self._privacy.step_noise_std
        for row, client, size in zip(total, clients, sizes.tolist(), strict=False):
            if std > 0:
                row.add_(normal(client.noise, len(row), std / size))

    def _add_clipped(
        self, total: Tensor, gradients: Sequence[ExampleGradient], sizes: Tensor, there: Tensor
    ) -> None:
        """Add the clients' sums of clipped gradients over their batches' sizes to ``total`` [H, P].

        A weight that float32 cannot hold, since a gradient is all but zero or the bound is, counts as 0.
        """
        gradients, squares = squares_of(gradients, there)  # [L, H, B]
        weights = self._privacy.weigh(squares, self._sizes).float()  # [L, H, B] or [1, H, B]
        limits = torch.finfo(weights.dtype)
        weights = weights.masked_fill(~((weights >= limits.tiny) & (weights <= limits.max)), 0.0)
        weights[:, : len(sizes)] /= sizes[:, None]
        for number, home in enumerate(self._layout.views(total).values()):
            gradients[number].add_to(home, weights[min(number, len(weights) - 1)])


def _ordered(groups: Groups, rows: Sequence[int]) -> Groups:
    """Return these rows of every group."""
    return {name: vectors[rows] for name, vectors in groups.items()}


def _filled(chosen: Sequence[Array], rows: Tensor) -> Tensor:
    """Return where ``rows`` [H, B] holds one of the first clients' ``chosen`` examples.  # [H, B]"""
    counts = torch.zeros(len(rows), 1, dtype=torch.int64)
    counts[: len(chosen), 0] = torch.tensor([len(batch) for batch in chosen])
    return torch.arange(rows.shape[1]) < counts


def _width(n: int) -> int:
    """Return the least m * 2^e of at least n with 8 <= m < 16 (n itself below 16): little is padded."""
    unit = 1 << max(0, n.bit_length() - 4)
    return -(-n // unit) * unit
