"""Local training of a block of clients as one batched computation.

Parameters are stacked [K, ...], and a local step is one call for all clients (``tracing/stack_step.py``).
Ragged data are padded and masked: a padded example has weight 0 and changes nothing. Clients with fewer steps
drop out of the stack when they are done.

Source: the idea of stacking a cohort's models is that of vmap in JAX and functorch; Ro, Suresh, Wu.
FedJAX: Federated Learning Simulation with JAX. 2021. arXiv:2108.02117
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.seeds import torch_generator
from ..tracing.dropout import Masks
from .frozen_ahead import FrozenAhead
from .step import LocalStep, Steer, first_of

if TYPE_CHECKING:
    from ...core.contracts import Groups, LocalRule, LocalTraining
    from ...core.layout import Layout
    from ..tracing.stack_step import StackedStep
    from .shelf import Shelf

Array = np.ndarray[Any, Any]


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
    shared: Groups | None = None,
    own: Groups | None = None,
    start: Tensor | None = None,
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
        num_outputs: The outputs of an example, or of a position.
        out: Where the updates belong, on that device.  # [K, P]
        steers: How each client twists its gradients, or None; by default nobody does.
        streams: Makes each client's stream of dropout; may be left out of a model without.
        shared: What the server sent besides, for a rule that exchanges more than parameters.  # [P] each
        own: What the clients remember, likewise.  # [K, P] each
        start: What each client starts from, in place of what it received: then its parameters are written,
            and not how they changed.  # [K, P]
    """
    order = sorted(range(len(batches)), key=lambda k: -len(batches[k]))  # stable: longest first
    device = received.device
    padded = _padded([batches[k] for k in order], [places[k] for k in order], how.batch_size)
    rows, weights = (part.to(device) for part in padded)
    targets = _targets(step, shelf, rows, weights, num_outputs)  # [S, K, B, T]
    steps = np.array([len(batches[k]) for k in order])
    begun = list(layout.views(received).values())
    first = begun if start is None else list(layout.views(start[order]).values())
    local = [
        p.expand(len(order), *slot.shape).clone() for p, slot in zip(first, layout.parameters, strict=True)
    ]
    in_order = order == list(range(len(order)))
    told = [] if shared is None else apart(layout, shared)
    kept_of = [] if own is None else apart(layout, own, None if in_order else torch.tensor(order).to(device))
    twisted = [steers[k] for k in order] if steers else ()
    step_of = LocalStep(rule, how, begun, local, twisted, told, kept_of, decay_apart=True)
    losses = torch.zeros(len(order), device=device)
    drops = step.drops(shelf.x.shape[1:], shelf.dtype)
    generators = [torch_generator(streams[k]()) for k in order] if drops else []
    masks = Masks(drops, generators, rows.shape[2])
    ahead = FrozenAhead(step, begun, kept_of, shelf, rows) if step.added else None
    with torch.no_grad():
        for s, going in enumerate(at_work(steps)):
            height = min(len(order), _bucket(going))  # those between are done: they are computed and not used
            sizes = [len(batches[k][s]) for k in order[:going]] if drops else []
            kept = [mask.to(device) for mask in masks.draw(sizes, height)]
            params = [first_of(p, height) for p in local]
            frozen = () if ahead is None else ahead.of(s, height)
            gradients, values = step(params, shelf.take(rows[s, :height]), targets[s, :height], kept, frozen)
            first_of(losses, going).add_(first_of(values, going))
            step_of.descend(gradients, going)
    _write(layout.views(out).values(), local, begun if start is None else None, order)
    mean = losses / torch.from_numpy(steps).to(device)
    return torch.empty_like(mean).index_copy_(0, torch.tensor(order).to(device), mean)


def at_work(steps: Array) -> list[int]:
    """Return how many clients take each local step, of numbers of steps [K] that descend."""
    return [int(going) for going in np.searchsorted(-steps, -np.arange(steps[0]))]


def full_gradients(
    step: StackedStep,
    layout: Layout,
    received: Tensor,
    shelf: Shelf,
    places: Sequence[Array],
    num_outputs: int,
    streams: Sequence[Callable[[], np.random.Generator]] = (),
    own: Groups | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradient of each client's mean loss over all its examples, where it begins, and that loss.

    [K, P] and [K]. The arguments are those of ``train_stacked``.
    """
    device, drops = received.device, step.drops(shelf.x.shape[1:], shelf.dtype)
    whole = [[np.arange(len(place))] for place in places]
    rows, weights = (part.to(device) for part in _padded(whole, places, 0))  # [1, K, B]
    masks = Masks(drops, [torch_generator(stream()) for stream in streams] if drops else [], rows.shape[2])
    kept = [mask.to(device) for mask in masks.draw([len(p) for p in places] if drops else [], len(places))]
    begun = list(layout.views(received).values())
    stack = [p.expand(len(places), *p.shape).clone() for p in begun]
    targets = _targets(step, shelf, rows, weights, num_outputs)[0]
    remembered = [] if own is None else apart(layout, own)
    with torch.no_grad():
        frozen = FrozenAhead(step, begun, remembered, shelf, rows).of(0, len(places)) if step.added else ()
        gradients, losses = step(stack, shelf.take(rows[0]), targets, kept, frozen)
        written = [torch.bmm(*g) if isinstance(g, tuple | list) else g for g in gradients]
    return torch.cat([g.flatten(1) for g in written], dim=1), losses


def _targets(step: StackedStep, shelf: Shelf, rows: Tensor, weights: Tensor, num_outputs: int) -> Tensor:
    """Return what ``step`` is given of rows of the shelf.  # [*rows.shape, T]"""
    return shelf.labelled(step.form.targets(shelf.y[rows], weights, num_outputs), rows)


def apart(layout: Layout, groups: Groups, order: Tensor | None = None) -> list[dict[str, Tensor]]:
    """Return groups of vectors [..., P] parameter by parameter, their rows in this order."""
    views = {name: layout.views(vectors) for name, vectors in groups.items()}
    return [
        {
            name: found[slot.name] if order is None else found[slot.name].index_select(0, order)
            for name, found in views.items()
        }
        for slot in layout.parameters
    ]


def _write(
    homes: Iterable[Tensor], local: Sequence[Tensor], begun: Sequence[Tensor] | None, order: Sequence[int]
) -> None:
    """Write updates (or parameters, without ``begun``), one by one, to the rows ``order`` of ``homes``."""
    in_order = order == list(range(len(order)))
    rows = torch.tensor(order).to(local[0].device)
    for number, (home, params) in enumerate(zip(homes, local, strict=True)):
        if begun is None:
            home.index_copy_(0, rows, params)
            continue
        received = begun[number]
        if in_order:
            torch.sub(params, received, out=home)
        else:
            home.index_copy_(0, rows, params.sub_(received))


def _bucket(n: int) -> int:
    """Return the least m * 2^e of at least n with 4 <= m < 8 (n itself below 8): few shapes."""
    unit = 1 << max(0, n.bit_length() - 3)
    return -(-n // unit) * unit


def _padded(
    batches: Sequence[list[Array]], places: Sequence[Array], batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return rows of the shelf, and weights 1/B or 0 where padded.  # [S, K, B] both

    What a step takes lies together. Padding is an example of the client's own batch: with another client's,
    an infinite value there would become this client's NaN.
    """
    sizes = {len(chosen) for steps in batches for chosen in steps}
    most, widest = max(map(len, batches)), max(sizes)
    if len(sizes) == 1 and widest in (batch_size, _bucket(widest)) and len({*map(len, batches)}) == 1:
        held = np.cumsum([0, *map(len, places[:-1])])  # where each client's rows begin among all of them
        chosen = np.concatenate([chosen for steps in batches for chosen in steps]).reshape(len(held), -1)
        taken = (chosen + held[:, None]).reshape(-1, most, widest)
        rows = np.concatenate(places)[taken.swapaxes(0, 1).copy()]
        return torch.from_numpy(rows), torch.full(rows.shape, 1 / widest)
    width = widest if widest == batch_size else _bucket(widest)
    rows = np.zeros((most, len(batches), width), dtype=np.int64)
    weights = np.zeros((most, len(batches), width), dtype=np.float32)
    for k, (steps, place) in enumerate(zip(batches, places, strict=True)):
        rows[len(steps) :, k] = place[:1]
        for s, chosen in enumerate(steps):
            rows[s, k, : len(chosen)] = place[chosen]
            if len(chosen) < width:
                rows[s, k, len(chosen) :] = place[chosen[0]]
            weights[s, k, : len(chosen)] = 1 / len(chosen)
    return torch.from_numpy(rows), torch.from_numpy(weights)
