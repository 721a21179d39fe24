"""Local training of a block of clients as one batched computation.

Parameters are stacked [K, ...] and every local step is one call of ``torch.func.vmap`` over the clients.
Ragged data are padded and masked: a padded example has weight 0 and changes nothing. Clients with fewer
steps drop out of the stack when they are done. A step of a shape that comes again is traced once and then
replayed without the machinery of automatic differentiation: the same operations, the same bits.

Source: the idea of stacking a cohort's models is that of vmap in JAX and functorch; Ro, Suresh, Wu.
FedJAX: Federated Learning Simulation with JAX. 2021. arXiv:2108.02117
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from ..core.contracts import LocalRule, LocalTraining
from ..core.layout import Layout

Array = np.ndarray[Any, Any]
Step = Callable[[dict[str, Tensor], Tensor, Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]
"""From stacked parameters, inputs [K, B, ...], labels and weights [K, B] to gradients and losses [K]."""

Steer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From gradients, parameters and received parameters [..., P] to what a local step descends instead."""


def can_stack(model: nn.Module) -> str | None:
    """Return why a model cannot be stacked, or None where it can."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            return "dropout draws from a stream of each client's own"
        if isinstance(module, nn.modules.batchnorm._NormBase):
            return "batch statistics are changed in place"
        if isinstance(module, nn.RNNBase):
            return "recurrent layers have no batching rule"
    return None


def stacked_step(model: nn.Module) -> Step:
    """Return the function that differentiates the mean cross-entropy of every client at once."""

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        output = functional_call(model, params, (x,))
        return (nn.functional.cross_entropy(output, y, reduction="none") * weights).sum()

    return _Replayed(vmap(grad_and_value(loss)))


class _Replayed:
    """A step that is traced for every shape that it meets a second time."""

    def __init__(self, step: Step) -> None:
        self._step, self._seen = step, set[tuple[int, ...]]()
        self._traces: dict[tuple[int, ...], Step] = {}

    def __call__(
        self, params: dict[str, Tensor], x: Tensor, y: Tensor, weights: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        shape = tuple(x.shape)
        if shape not in self._traces:
            if shape not in self._seen:  # a trace costs as much as some tens of steps
                self._seen.add(shape)
                return self._step(params, x, y, weights)
            self._traces[shape] = make_fx(self._step)(params, x, y, weights)
        with torch.no_grad():
            return self._traces[shape](params, x, y, weights)


def train_stacked(
    step: Step,
    layout: Layout,
    rule: LocalRule,
    how: LocalTraining,
    received: Tensor,
    examples: Sequence[tuple[Tensor, Tensor]],
    batches: Sequence[list[Array]],
    steers: Sequence[Steer | None] = (),
) -> tuple[Tensor, Tensor]:
    """Return the block's updates [K, P] and each client's mean loss [K].

    Args:
        step: What ``stacked_step`` gave.
        layout: How the parameters lie in a vector.
        rule: The algorithm.
        how: The training it schedules.
        received: The broadcast parameters.  # [P]
        examples: Each client's inputs and labels.
        batches: Each client's rows of each local step.
        steers: How each client twists its gradients, or None; by default nobody does.
    """
    order = sorted(range(len(batches)), key=lambda k: -len(batches[k]))  # stable: longest first
    rows, weights = _padded([batches[k] for k in order], [len(examples[k][1]) for k in order])
    x = torch.cat([examples[k][0] for k in order])
    y = torch.cat([examples[k][1] for k in order])
    steps = np.array([len(batches[k]) for k in order])
    local = received.expand(len(order), -1).clone()  # [K, P]
    velocity = torch.zeros_like(local) if how.momentum else local
    losses = torch.zeros(len(order))
    twisted = _grouped([steers[k] for k in order] if steers else [])
    for s in range(steps[0]):
        going = int((steps > s).sum())
        chosen = rows[:going, s].reshape(-1)  # [k * B]
        inputs = x.index_select(0, chosen).view(going, -1, *x.shape[1:])  # [k, B, ...]
        labels = y.index_select(0, chosen).view(going, -1)  # [k, B]
        gradients, values = step(layout.views(local[:going]), inputs, labels, weights[:going, s])
        losses[:going] += values
        for steer, who in twisted:
            gradients = _twisted(layout, steer, who[who < going], received, local, gradients)
        _apply(layout, rule, how, received, local[:going], velocity[:going], gradients)
    update = torch.empty_like(local)
    update[order] = local.sub_(received)
    mean = torch.empty_like(losses)
    mean[order] = losses / torch.from_numpy(steps)
    return update, mean


def _grouped(steers: Sequence[Steer | None]) -> list[tuple[Steer, Tensor]]:
    """Return every way to twist gradients with the rows that do so, ascending."""
    ways = dict.fromkeys(steer for steer in steers if steer is not None)
    return [(way, torch.tensor([n for n, steer in enumerate(steers) if steer is way])) for way in ways]


def _twisted(
    layout: Layout, steer: Steer, who: Tensor, received: Tensor, local: Tensor, gradients: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the gradients, those of the rows ``who`` replaced by what these clients descend instead."""
    homes, starts = layout.views(local), layout.views(received)
    return {
        name: gradient.index_copy(0, who, steer(gradient[who], homes[name][who], starts[name]))
        for name, gradient in gradients.items()
    }


def _apply(
    layout: Layout,
    rule: LocalRule,
    how: LocalTraining,
    received: Tensor,
    local: Tensor,
    velocity: Tensor,
    gradients: dict[str, Tensor],
) -> None:
    """Take one SGD step of every client in place, parameter by parameter."""
    homes, starts, speeds = layout.views(local), layout.views(received), layout.views(velocity)
    for name, gradient in gradients.items():
        if how.weight_decay:
            gradient = gradient + how.weight_decay * homes[name]
        direction = rule.correct(gradient, homes[name], starts[name])
        if how.momentum:
            direction = speeds[name].mul_(how.momentum).add_(direction)
        homes[name].add_(direction, alpha=-how.lr)


def _padded(batches: Sequence[list[Array]], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return rows into the clients' joined examples, and weights 1/B or 0 where padded.  # [K, S, B] both"""
    most = max(len(b) for b in batches)
    widest = max(len(rows) for b in batches for rows in b)
    rows = np.zeros((len(batches), most, widest), dtype=np.int64)
    weights = np.zeros((len(batches), most, widest), dtype=np.float32)
    starts = np.cumsum([0, *sizes[:-1]])
    for k, (steps, start) in enumerate(zip(batches, starts, strict=True)):
        for s, chosen in enumerate(steps):
            rows[k, s, : len(chosen)] = chosen + start
            weights[k, s, : len(chosen)] = 1 / len(chosen)
    return torch.from_numpy(rows), torch.from_numpy(weights)
