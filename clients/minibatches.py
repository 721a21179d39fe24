"""The order in which a client walks through its own examples."""

from typing import Any

import numpy as np

from ..core.contracts import LocalTraining


def minibatches(
    num_examples: int, training: LocalTraining, stream: np.random.Generator
) -> list[np.ndarray[Any, Any]]:
    """Return the rows of each local step.

    Every epoch is a fresh shuffle (or the examples' own order, with ``shuffle`` off) cut into ``batch_size``
    pieces, the last one possibly shorter. With ``local_steps``, epochs follow each other until the steps are
    used up.

    Args:
        num_examples: Examples of this client, at least 1.
        training: How the client trains.
        stream: The client's own stream for this round.
    """
    size = min(training.batch_size or num_examples, num_examples)
    per_epoch = -(-num_examples // size)
    steps = training.local_steps or training.local_epochs * per_epoch
    batches: list[np.ndarray[Any, Any]] = []
    while len(batches) < steps:
        in_order = size == num_examples or not training.shuffle
        order = np.arange(num_examples) if in_order else stream.permutation(num_examples)
        batches += [order[at : at + size] for at in range(0, num_examples, size)]
    return batches[:steps]
