"""Local training of a block of clients as one batched computation.

Parameters are stacked [K, ...], and a local step is one call for all clients (``trace.py``). Ragged data are
padded and masked: a padded example has weight 0 and changes nothing. Clients with fewer steps drop out of the
stack when they are done.

Source: the idea of stacking a cohort's models is that of vmap in JAX and functorch; Ro, Suresh, Wu.
FedJAX: Federated Learning Simulation with JAX. 2021. arXiv:2108.02117
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.contracts import LocalRule, LocalTraining
from ..core.declarations import Algorithms, declared
from ..core.layout import Layout
from ..core.seeds import torch_generator
from .adam import Adam
from .dropout import Masks, cannot_draw
from .shelf import Shelf
from .trace import Gradient, StackedStep

Array = np.ndarray[Any, Any]

Steer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From gradients, parameters and received parameters [..., P] to what a local step descends instead."""


def can_stack(model: nn.Module, input_shape: Sequence[int] | None = None) -> str | None:
    """Return why a model cannot be stacked, or None where it can.

    Args:
        model: A model in training mode.
        input_shape: The shape of one example; without it, no model with dropout can be stacked.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            return "batch statistics are changed in place"
        if isinstance(module, nn.RNNBase):
            return "recurrent layers have no batching rule"
    return cannot_draw(model, input_shape)


def train_stacked(
    step: StackedStep,
    layout: Layout,
    rule: LocalRule,
    how: LocalTraining,
    received: Tensor,
    shelf: Shelf,
    places: Sequence[Array],
    batches: Sequence[list[Array]],
    num_outputs: int,
    out: Tensor,
    steers: Sequence[Steer | None] = (),
    streams: Sequence[Callable[[], np.random.Generator]] = (),
) -> Tensor:
    """Write the clients' updates to ``out`` and return each one's mean loss [K].

    Args:
        step: Differentiates a stack.
        layout: How the parameters lie in a vector.
        rule: The algorithm.
        how: The training it schedules.
        received: The broadcast parameters, on the device to train on.  # [P]
        shelf: Where the examples lie, on that device.
        places: The rows of the shelf that hold each client's examples.
        batches: Which of its examples each client takes in each local step.
        num_outputs: Classes, or outputs of a regression.
        out: Where the updates belong, on that device.  # [K, P]
        steers: How each client twists its gradients, or None; by default nobody does.
        streams: Makes each client's stream of dropout; may be left out of a model without.
    """
    order = sorted(range(len(batches)), key=lambda k: -len(batches[k]))  # stable: longest first
    device = received.device
    padded = _padded([batches[k] for k in order], [places[k] for k in order], how.batch_size)
    rows, weights = (part.to(device) for part in padded)
    targets = _targets(shelf, rows, weights, num_outputs)  # [K, S, B, C or D + 1]
    steps = np.array([len(batches[k]) for k in order])
    twisted = _grouped([steers[k] for k in order] if steers else [])
    state = _Descent(layout, rule, how, received, len(order), twisted)
    losses = torch.zeros(len(order), device=device)
    drops = step.drops(shelf.x.shape[1:])
    generators = [torch_generator(streams[k]()) for k in order] if drops else []
    masks = Masks(drops, generators, rows.shape[2])
    with torch.no_grad():
        for s in range(steps[0]):
            going = int((steps > s).sum())
            height = min(len(order), _bucket(going))  # those between are done: they are computed and not used
            sizes = [len(batches[k][s]) for k in order[:going]] if drops else []
            kept = [mask.to(device) for mask in masks.draw(sizes, height)]
            gradients, values = step(
                state.stack(height), shelf.take(rows[:height, s]), targets[:height, s], kept
            )
            losses[:going] += values[:going]
            state.descend(gradients, going)
    state.write(layout.views(out).values(), order)
    mean = losses / torch.from_numpy(steps).to(device)
    return torch.empty_like(mean).index_copy_(0, torch.tensor(order).to(device), mean)


def _targets(shelf: Shelf, rows: Tensor, weights: Tensor, num_outputs: int) -> Tensor:
    """Return what ``StackedStep`` is given: minus the weight at the label, or the numbers and the weight."""
    if shelf.y.is_floating_point():
        return torch.cat([shelf.y[rows], weights[..., None]], dim=-1)
    targets = torch.zeros(*rows.shape, num_outputs, device=rows.device)
    return targets.scatter_(3, shelf.y[rows][..., None], -weights[..., None])


def _grouped(steers: Sequence[Steer | None]) -> list[tuple[Steer, list[int]]]:
    """Return every way to twist gradients with the rows that do so, ascending."""
    rows: dict[Steer, list[int]] = {}
    for row, steer in enumerate(steers):
        if steer is not None:
            rows.setdefault(steer, []).append(row)
    return list(rows.items())


class _Descent:
    """The clients' parameters, one stacked tensor each, and how a step changes them in place.

    Every stack is contiguous: a batched product of matrices that lie apart is done one by one.
    """

    def __init__(
        self,
        layout: Layout,
        rule: LocalRule,
        how: LocalTraining,
        received: Tensor,
        clients: int,
        twisted: Sequence[tuple[Steer, list[int]]],
    ) -> None:
        self._rule, self._how = rule, how
        self._twisted = [(way, rows, torch.tensor(rows).to(received.device)) for way, rows in twisted]
        changed = twisted or how.momentum or how.weight_decay or how.optimizer != "sgd"
        self._plain = declared(rule, Algorithms.plain) and not changed
        self._received = list(layout.views(received).values())
        self._local = [p.expand(clients, *p.shape).clone() for p in self._received]
        self._velocity = [torch.zeros_like(p) for p in self._local] if how.momentum else self._local
        self._adam = Adam(self._local) if how.optimizer == "adam" else None

    def stack(self, height: int) -> list[Tensor]:
        """Return the first clients' parameters, [height, ...] each."""
        return [p[:height] for p in self._local]

    def write(self, homes: Iterable[Tensor], order: Sequence[int]) -> None:
        """Write the updates, parameter by parameter, to the rows ``order`` of ``homes`` [K, ...]."""
        in_order = order == list(range(len(order)))
        rows = torch.tensor(order).to(self._received[0].device)
        for home, local, received in zip(homes, self._local, self._received, strict=True):
            if in_order:
                torch.sub(local, received, out=home)
            else:
                home.index_copy_(0, rows, local.sub_(received))

    def descend(self, gradients: Sequence[Gradient], going: int) -> None:
        """Take one step of the first ``going`` clients, parameter by parameter."""
        if self._adam is not None:
            self._adam.begin_step()
        for i, gradient in enumerate(gradients):
            home = self._local[i][:going]
            if isinstance(gradient, tuple | list):
                left, right = gradient[0][:going], gradient[1][:going]
                if self._plain:
                    home.baddbmm_(left, right, alpha=-self._how.lr)
                    continue
                gradient = torch.bmm(left, right)
            self._step(i, gradient[:going], home)

    def _step(self, i: int, gradient: Tensor, home: Tensor) -> None:
        how = self._how
        for steer, ascending, who in self._twisted:
            rows = who[: bisect_left(ascending, len(home))]
            twist = steer(gradient[rows], home[rows], self._received[i])
            gradient = gradient.index_copy(0, rows, twist)
        if how.weight_decay:
            gradient = gradient + how.weight_decay * home
        direction = self._rule.correct(gradient, home, self._received[i])
        if how.momentum:
            direction = self._velocity[i][: len(home)].mul_(how.momentum).add_(direction)
        if self._adam is not None:
            direction = self._adam.direction(i, direction)
        home.add_(direction, alpha=-how.lr)


def _bucket(n: int) -> int:
    """Return the least m * 2^e of at least n with 4 <= m < 8 (n itself below 8): few shapes."""
    unit = 1 << max(0, n.bit_length() - 3)
    return -(-n // unit) * unit


def _padded(
    batches: Sequence[list[Array]], places: Sequence[Array], batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return rows of the shelf, and weights 1/B or 0 where padded.  # [K, S, B] both"""
    sizes = {len(chosen) for steps in batches for chosen in steps}
    most, widest = max(map(len, batches)), max(sizes)
    if len(sizes) == 1 and widest in (batch_size, _bucket(widest)) and len({*map(len, batches)}) == 1:
        even = [place[np.concatenate(steps)] for place, steps in zip(places, batches, strict=True)]
        rows = np.stack(even).reshape(len(batches), most, widest)
        return torch.from_numpy(rows), torch.full(rows.shape, 1 / widest)
    width = widest if widest == batch_size else _bucket(widest)
    rows = np.zeros((len(batches), most, width), dtype=np.int64)
    weights = np.zeros((len(batches), most, width), dtype=np.float32)
    for k, (steps, place) in enumerate(zip(batches, places, strict=True)):
        for s, chosen in enumerate(steps):
            rows[k, s, : len(chosen)] = place[chosen]
            weights[k, s, : len(chosen)] = 1 / len(chosen)
    return torch.from_numpy(rows), torch.from_numpy(weights)
