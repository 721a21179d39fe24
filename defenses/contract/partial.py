"""What a defense owes that declares ``partial``: clients may lack coordinates, by levels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ...core.contracts import Defense
from ...core.declarations import Defenses, declared
from ...core.presence import Presence
from ...core.registry import require
from ...core.updates import Updates
from .trials import SIZE, a_cohort, a_partial_cohort, guarded, size_for, verb_of

_NAMES = ("equal_updates_come_back_unchanged", "who_lacks_a_coordinate_has_no_say_in_it")


def _aggregate(defense: Defense, updates: Updates) -> torch.Tensor:
    found: torch.Tensor = verb_of(defense)(updates, guarded(defense).init())[0].aggregate
    return found


def _partial(defense: Defense, check: str = "") -> bool:
    return declared(defense, Defenses.partial) and check not in declared(defense, Defenses.exempt)


def what_nobody_has_stays_as_it_was(defense: Defense) -> None:
    """A coordinate that no level of the cohort has is exactly 0 in the aggregate, and all of it is finite."""
    if not _partial(defense):
        return
    aggregate = _aggregate(defense, a_partial_cohort(0, defense))
    require(aggregate.shape == (SIZE,), f"the aggregate must be [{SIZE}], got {list(aggregate.shape)}")
    require(bool(aggregate.isfinite().all()), "the aggregate of clients that lack coordinates is not finite")
    require(float(aggregate[-1]) == 0, "a coordinate that nobody has must be 0 in the aggregate")


def a_presence_of_everything_changes_nothing(defense: Defense) -> None:
    """Levels that all have every coordinate give what no levels give, to 1e-6."""
    if not _partial(defense):
        return
    cohort = a_cohort(0, size_for(defense))
    everything = Presence(torch.ones(2, SIZE, dtype=torch.bool), torch.arange(len(cohort)) % 2)
    with_levels = _aggregate(defense, replace(cohort, presence=everything))
    off = float((with_levels - _aggregate(defense, cohort)).abs().max())
    require(off <= 1e-6, f"where everybody has everything levels must not matter: it is off by {off:.3g}")


def what_is_absent_is_no_vote_for_zero(defense: Defense) -> None:
    """Where all agree on what they have, it comes back unchanged: nobody averages with zeros.

    A rule with a known sensitivity divides by what depends on nobody, and is not asked.
    """
    sensitivity: Any = declared(defense, Defenses.sensitivity)
    fixed = sensitivity is not None and sensitivity(1.0, 1.0) is not None
    if fixed or not _partial(defense, _NAMES[0]):
        return
    row = a_cohort(0, 1).vectors
    cohort = a_partial_cohort(0, defense, row.repeat(3 * size_for(defense), 1))
    off = float((_aggregate(defense, cohort) - row[0])[:-1].abs().max())
    require(off <= 1e-6, f"clients that agree on what they have must be believed: it is off by {off:.3g}")


def who_lacks_a_coordinate_has_no_say_in_it(defense: Defense) -> None:
    """Without the clients that lack a coordinate the aggregate is the same in it."""
    if not _partial(defense, _NAMES[1]):
        return
    cohort = a_partial_cohort(0, defense)
    assert cohort.presence is not None
    whole = _aggregate(defense, cohort)
    for columns, rows in cohort.presence.owners():
        alone = _aggregate(defense, cohort.rows(rows)) if len(rows) else torch.zeros_like(whole)
        off = float((whole - alone)[columns].abs().max())
        require(
            off <= 1e-6, f"a client moves a coordinate that its level does not have: it is off by {off:.3g}"
        )


def the_sensitivity_holds_where_clients_lack_coordinates(defense: Defense) -> None:
    """No client of norm C moves the aggregate by more than ``sensitivity(C, expected_size)``."""
    clip_norm, sensitivity = 0.5, declared(defense, Defenses.sensitivity)
    cohort = a_partial_cohort(0, defense)
    bound = sensitivity(clip_norm, cohort.expected_size) if sensitivity is not None else None
    if bound is None or not _partial(defense):
        return
    lengths = cohort.vectors.norm(dim=1, keepdim=True)
    cohort = cohort.with_vectors(clip_norm * cohort.vectors / lengths)
    whole = _aggregate(defense, cohort)
    for client in range(len(cohort)):
        rest = _aggregate(defense, cohort.rows(torch.arange(len(cohort)) != client))
        moved = float((whole - rest).norm())
        require(
            moved <= bound * (1 + 1e-5),
            f"one client that lacks coordinates moves the aggregate by {moved:.4g}, declared {bound:.4g}",
        )


CHECKS: tuple[Callable[[Defense], None], ...] = (
    what_nobody_has_stays_as_it_was,
    a_presence_of_everything_changes_nothing,
    what_is_absent_is_no_vote_for_zero,
    who_lacks_a_coordinate_has_no_say_in_it,
    the_sensitivity_holds_where_clients_lack_coordinates,
)
