"""Rules that work coordinate by coordinate, where clients lack some: only those vote that have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...core.updates import Updates


def each_coordinate(updates: Updates, rule: Callable[[Updates], Tensor]) -> Tensor:
    """Return what ``rule`` makes of every coordinate, asked about the clients that have it.  # [P]

    A coordinate that nobody has is 0: by itself no step of the server's. Where everything is present the
    rule is asked once, about everybody.

    Args:
        updates: The cohort.
        rule: From at least one client, all of whom have every coordinate, to one value a coordinate.
    """
    if updates.presence is None:
        return rule(updates)
    aggregate = updates.vectors.new_zeros(updates.vectors.shape[1])
    for columns, rows in updates.presence.owners():
        if len(rows):
            own = replace(updates, presence=None).rows(rows)
            aggregate[columns] = rule(own.with_vectors(own.vectors[:, columns]))
    return aggregate


def over_owners(updates: Updates, total: Tensor, weights: Tensor) -> Tensor:
    """Return a sum [P] over clients divided by what those weigh that have the coordinate; 0 where nobody has.

    Args:
        updates: The cohort, of which some coordinates are absent.
        total: What is divided, float64.  # [P]
        weights: What each client weighs, at least 0, float64.  # [K]
    """
    assert updates.presence is not None
    weigh = updates.presence.totals(weights)
    return torch.where(weigh > 0, total / weigh.where(weigh > 0, 1.0), 0.0)
