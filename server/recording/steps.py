"""What a client's local steps took and dropped: places among its examples, for what an attacker is told."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ...clients.data.blank import input_dtype
from ...clients.tracing.dropout import Masks, calls, cannot_draw
from ...core.declarations import Algorithms, ClientData, declared, works_in_steps
from ...core.leakage_knowledge import Level
from ...core.seeds import generator, torch_generator

if TYPE_CHECKING:
    from ...clients.training.kernel import BlockKernel
    from ...core.contracts import LocalRule
    from ...core.observation import Truth
    from ..simulation import Simulation

Array = np.ndarray[Any, Any]


def steps_of(simulation: Simulation, client: int, round_: int) -> list[Array]:
    """Return the rows of each of a client's local steps."""
    kernel = simulation.kernel
    return kernel.batches(client, round_, len(kernel.examples(client, round_)[1]))


def told_of_steps(
    simulation: Simulation, client: int, round_: int, truth: Truth, labels_known: bool
) -> tuple[dict[str, Any], dict[str, Level]]:
    """Return what an attacker is told of a client's local steps, and how surely: items of knowledge.

    The step size only where every step is one of the optimiser on a batch's mean gradient. Which examples are
    in which batch only its client knows, unless all are in every one; what a batch dropped always.

    Args:
        simulation: The run.
        client: The sender.
        round_: The round in which it began.
        truth: What it trains on, each example once, ascending in its rows.
        labels_known: Whether the labels are told: examples then stand in their order.
    """
    training, batches = simulation.kernel.training, steps_of(simulation, client, round_)
    told: dict[str, Any] = {"momentum": training.momentum}
    if works_in_steps(simulation.plan.privacy):
        return told, {}
    y = truth.trained().y
    places = _places(batches, y if labels_known and y.ndim == 1 else None)
    told["batches"] = tuple(tuple(batch.tolist()) for batch in places)
    if steady(simulation.kernel.rule):
        told["local_lr"] = training.lr
    if (masks := _masks(simulation, client, round_, places)) is not None:
        told["dropout_masks"] = masks
    whole = all(len(batch) == len(truth.y) for batch in batches)
    hidden = ["batches"] * (not whole) + ["dropout_masks"] * bool(masks)
    return told, dict.fromkeys(hidden, Level.ORACLE)


def steady(rule: LocalRule) -> bool:
    """Return whether every local step of an algorithm goes along the gradient of the loss alone."""
    return bool(declared(rule, Algorithms.plain)) and declared(rule, Algorithms.added_loss) is None


def _places(batches: Sequence[Array], labels: Tensor | None) -> list[Array]:
    """Return each step's rows as places among all that are taken, in ascending row or, if given, label."""
    rows = np.unique(np.concatenate(batches))
    order = np.arange(len(rows)) if labels is None else labels.argsort(stable=True).numpy()
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return [rank[np.searchsorted(rows, batch)] for batch in batches]


def _masks(
    simulation: Simulation, client: int, round_: int, places: Sequence[Array]
) -> tuple[Tensor, ...] | None:
    """Return what each call of a dropout layer kept of a client's only step, uint8.  # [B, ...] each

    They are drawn once more from the client's own stream. Empty where the model has no dropout; None where
    there is more than one step, or where masks are not drawn that way.
    """
    choice, leveled = simulation.choice, simulation.plan.levels is not None
    here = choice.device == "cpu" or choice.stacked
    if leveled or len(places) != 1 or not here:
        return None
    data, mine = simulation.data, copy.deepcopy(cast("BlockKernel", simulation.kernel).model).cpu().train()
    how = mine, data.input_shape, input_dtype(declared(data, ClientData.num_tokens))
    if cannot_draw(*how) is not None:
        return None
    drops = calls(*how)
    stream = torch_generator(generator(simulation.spec.seed, "dropout", round_, client))
    (batch,) = places
    kept = Masks(drops, [stream], len(batch)).draw([len(batch)], 1)
    order = torch.from_numpy(batch).argsort()
    return tuple(mask[0, order].to(torch.uint8) for mask in kept)
