"""The order in which a client walks through its own examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ...core.contracts import LocalTraining

Array = np.ndarray[Any, Any]


def minibatches(num_examples: int, training: LocalTraining, stream: np.random.Generator) -> list[Array]:
    """Return the rows of each local step.

    Every epoch is a fresh shuffle (or the examples' own order, with ``shuffle`` off) cut into ``batch_size``
    pieces, the last one possibly shorter. With ``local_steps``, epochs follow each other until the steps are
    used up.

    Args:
        num_examples: Examples of this client, at least 1.
        training: How the client trains.
        stream: The client's own stream for this round.
    """
    size, steps = _size(num_examples, training), _steps(num_examples, training)
    batches: list[Array] = []
    while len(batches) < steps:
        in_order = size == num_examples or not training.shuffle
        order = np.arange(num_examples) if in_order else stream.permutation(num_examples)
        batches += [order[at : at + size] for at in range(0, num_examples, size)]
    return batches[:steps]


def gathered(batches: Sequence[Array]) -> tuple[Array, list[Array]]:
    """Return the rows that local steps take, each once, and every step's rows among these.

    The rows stand in the order in which they are first taken: those of a single step are its batch.
    """
    taken = np.concatenate(batches)
    rows, first, places = np.unique(taken, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ends = np.cumsum([len(batch) for batch in batches])
    return rows[order], np.split(rank[places], ends[:-1])


@dataclass(frozen=True)
class StepSampling:
    """How often one of a client's examples can be in a batch in one round.

    Attributes:
        rate: Probability with which an example is in the batch of one draw; 1 without sampling.
        draws: Local steps or, where each example is in one batch of a pass, passes.
        size: The expected number of examples in a batch, above 0.
    """

    rate: float
    draws: int
    size: float


def step_sampling(num_examples: int, training: LocalTraining, poisson: bool) -> StepSampling:
    """Return how a client with so many examples draws its batches in one round."""
    size, steps = _size(num_examples, training), _steps(num_examples, training)
    if poisson:
        return StepSampling(size / num_examples, steps, size)
    return StepSampling(1.0, -(-steps // -(-num_examples // size)), size)


def poisson_batches(
    num_examples: int, known: int, training: LocalTraining, stream: np.random.Generator
) -> list[Array]:
    """Return the rows of each local step, every example in each of them with the same probability.

    Args:
        num_examples: Examples that there are, at least 1.
        known: Examples that the rate and the number of steps follow from, at least as many.
        training: How the client trains.
        stream: The client's own stream for this round.
    """
    sampling = step_sampling(known, training, poisson=True)
    return [np.flatnonzero(stream.random(num_examples) < sampling.rate) for _ in range(sampling.draws)]


def shuffled_batches(
    num_examples: int, known: int, training: LocalTraining, stream: np.random.Generator
) -> list[Array]:
    """Return the rows of each local step as ``minibatches``, in no more passes than are known beforehand.

    With ``local_steps`` a client that kept few of its examples would go through them more often than its
    privacy is charged for: its steps end with the last of those passes.

    Args:
        num_examples: Examples that there are, at least 1.
        known: Examples that the number of passes follows from, at least as many.
        training: How the client trains.
        stream: The client's own stream for this round.
    """
    passes = step_sampling(known, training, poisson=False).draws
    a_pass = -(-num_examples // _size(num_examples, training))
    return minibatches(num_examples, training, stream)[: passes * a_pass]


def _size(num_examples: int, training: LocalTraining) -> int:
    return min(training.batch_size or num_examples, num_examples)


def _steps(num_examples: int, training: LocalTraining) -> int:
    per_epoch = -(-num_examples // _size(num_examples, training))
    return training.local_steps or training.local_epochs * per_epoch
