"""Records that an attacker has from elsewhere: ones to ask about, and ones of the clients' distribution.

Those that no client trains on are test examples: the same distribution, and held by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ...core.errors import DataError
from ...core.leakage_knowledge import Records
from ...core.seeds import generator
from .steps import steps_of

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.observation import Truth
    from ..simulation import Simulation


def candidates_of(
    simulation: Simulation, client: int, round_: int, truth: Truth, auxiliary: int, several: bool, alike: bool
) -> tuple[Records, Tensor]:
    """Return records to ask about, and which of them the client trained on, as ``Truth.members``.

    Members are what it trains on in the round; where ``several`` rounds are attacked together, all that it
    holds, so that the candidates are the same in every round. Beside them stand as many test examples, where
    there are so many, in an order that says nothing.

    Args:
        simulation: The run.
        client: Who is observed.
        round_: The round in which it began.
        truth: What it trains on in the round.
        auxiliary: Test examples that are kept for something else.
        several: Whether several rounds are attacked together.
        alike: Whether the test examples are of the members' classes, as far as there are such; else of any.
    """
    x, y, members = truth.x, truth.y, torch.ones(len(truth.y), dtype=torch.int8)
    if several:
        x, y = simulation.data.client(client)
        members = torch.full((len(y),), -1, dtype=torch.int8)
        rows = np.unique(np.concatenate(steps_of(simulation, client, round_)))
        members[torch.from_numpy(rows[rows < len(y)])] = 1
    test_x, test_y = simulation.data.test()
    free = torch.from_numpy(_order(simulation, len(test_y))[auxiliary:])
    chosen = free[_alike(y, test_y[free])] if alike else free[: len(y)]
    stream = generator(simulation.spec.seed, "candidates", 0 if several else round_, client)
    shuffled = torch.from_numpy(stream.permutation(len(y) + len(chosen)))
    x, y = torch.cat([x, test_x[chosen]])[shuffled], torch.cat([y, test_y[chosen]])[shuffled]
    return Records(x, y), torch.cat([members, torch.zeros(len(chosen), dtype=torch.int8)])[shuffled]


def auxiliary_of(simulation: Simulation, number: int, truth: Truth) -> Records:
    """Return so many test examples, drawn at random; no candidate is one of them.

    Sequences of tokens that the client trains on are left out where the test set holds them too, so that an
    attacker's language model has never seen what it is to find.

    Raises:
        DataError: None is left.
    """
    x, y = simulation.data.test()
    rows = torch.from_numpy(_order(simulation, len(y))[:number])
    if not x.is_floating_point():
        own = {tuple(one) for one in truth.x.flatten(1).tolist()}
        rows = rows[[tuple(one) not in own for one in x[rows].flatten(1).tolist()]]
        if not len(rows):
            raise DataError(f"the client trains on all of {number} auxiliary examples; take more")
    return Records(x[rows], y[rows])


def _order(simulation: Simulation, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the test examples in an order of the run's own: the first are kept as auxiliary ones."""
    return generator(simulation.spec.seed, "auxiliary").permutation(number)


def _alike(y: Tensor, others: Tensor) -> Tensor:
    """Return as many rows of ``others`` as there are labels, or all: of the same classes where possible."""
    if y.ndim > 1:
        return torch.arange(min(len(y), len(others)))
    taken = torch.zeros(len(others), dtype=torch.bool)
    for label, count in zip(*torch.unique(y, return_counts=True), strict=True):
        taken[(others == label).nonzero().flatten()[: int(count)]] = True
    rest = (~taken).nonzero().flatten()[: max(len(y) - int(taken.sum()), 0)]
    taken[rest] = True
    return taken.nonzero().flatten()
