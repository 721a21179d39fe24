"""What every clipping owes, as checks that raise ``PluginError`` when it is broken."""

from collections.abc import Callable
from math import isfinite
from typing import cast

import torch
from torch import Tensor

from ...core.contracts import AdaptiveClipping, Clipping, PublicFacts
from ...core.declarations import Clippings, declared
from ...core.registry import require
from ...core.seeds import generator
from ...core.updates import Updates
from ..clippings.parts import row_norms
from .cohort import no_row_of_any_cohort_is_left_as_long_as_it_was

_CLIP_NORMS = (1e-3, 0.7, 40.0)
_LENGTHS = (0.0, 1e-30, 1e-4, 1e-2, 0.5, 0.7, 1.0, 1e3, 1e8, 1e22)
_FACTS = PublicFacts(clip_norm=0.7, noise_multiplier=1.0, num_parameters=301, expected_size=20.0)


def _updates() -> Updates:
    """Return a zero update, and norms from far below to far above any clip norm."""
    lengths = torch.tensor(_LENGTHS, dtype=torch.float64)
    drawn = torch.from_numpy(generator(0, "clipping contract").standard_normal((len(lengths), 301)))
    return _cohort((drawn / drawn.norm(dim=1, keepdim=True) * lengths[:, None]).float())


def _cohort(vectors: Tensor) -> Updates:
    ids = 3 * torch.arange(len(vectors)) + 2
    return Updates(vectors, ids, torch.ones(len(vectors), dtype=torch.int64))


def _shortened(clipping: Clipping, updates: Updates, clip_norm: float) -> Tensor:
    return clipping.shorten(updates, row_norms(updates.vectors), clip_norm)


def _adaptive(clipping: Clipping) -> AdaptiveClipping | None:
    return cast(AdaptiveClipping, clipping) if declared(clipping, Clippings.adaptive) else None


def no_row_is_longer_than_the_clip_norm(clipping: Clipping) -> None:
    """Whatever a row's norm was, it is at most C afterwards: the sensitivity that noise is made for."""
    updates = _updates()
    for clip_norm in _CLIP_NORMS:
        longest = float(row_norms(_shortened(clipping, updates, clip_norm)).max())
        require(longest <= clip_norm * (1 + 1e-9), f"shorten let a norm of {longest} through C = {clip_norm}")


def a_row_depends_on_itself_alone(clipping: Clipping) -> None:
    """A row has the same bits in any cohort: otherwise one client moves more than its own update."""
    updates = _updates()
    together = _shortened(clipping, updates, 0.7)
    for row in range(len(updates)):
        alone = _shortened(clipping, updates.rows(torch.tensor([row])), 0.7)[0]
        require(torch.equal(alone, together[row]), f"shorten gives row {row} other bits in another cohort")


def zero_stays_zero_and_an_empty_cohort_empty(clipping: Clipping) -> None:
    """``shorten`` neither divides by a norm of zero nor needs a client."""
    require(bool((_shortened(clipping, _updates(), 0.7)[0] == 0).all()), "shorten moves a zero update")
    empty = _shortened(clipping, _cohort(torch.zeros(0, 301)), 0.7)
    require(empty.shape == (0, 301), f"shorten turns an empty cohort into {tuple(empty.shape)}")


def a_row_that_is_not_finite_does_not_become_finite(clipping: Clipping) -> None:
    """A client's broken update is still seen by the server's finite check, and spoils no other row."""
    updates = _updates()
    broken = updates.vectors.clone()
    broken[3, 5], broken[4, 0] = float("nan"), float("inf")
    came, whole = _shortened(clipping, _cohort(broken), 0.7), _shortened(clipping, updates, 0.7)
    finite = came.isfinite().all(dim=1).tolist()
    require(not finite[3] and not finite[4], "shorten hides a row with NaN or infinity")
    others = [row for row in range(len(updates)) if row not in (3, 4)]
    require(torch.equal(came[others], whole[others]), "shorten lets a broken row change others")


def the_input_is_left_as_it_was(clipping: Clipping) -> None:
    """``shorten`` returns vectors of its own."""
    updates = _updates()
    before = updates.vectors.clone()
    _shortened(clipping, updates, 0.7).fill_(1.0)
    require(torch.equal(updates.vectors, before), "shorten returns or writes into the vectors it is given")


def a_statistic_lies_between_0_and_1_and_is_each_clients_own(clipping: Clipping) -> None:
    """Its sensitivity, 1/2 after a shift by 1/2, is what its noise is charged for."""
    adaptive = _adaptive(clipping)
    if adaptive is None:
        return
    norms = torch.tensor(_LENGTHS, dtype=torch.float64)
    shares = adaptive.statistic(norms, _FACTS)
    require(shares.shape == norms.shape, f"statistic must be one number a client, got {tuple(shares.shape)}")
    inside = bool(((shares >= 0) & (shares <= 1)).all())
    require(inside, f"statistic must lie between 0 and 1, got {shares.tolist()}")
    alone = torch.cat([adaptive.statistic(norm[None], _FACTS) for norm in norms])
    require(torch.equal(alone, shares), "statistic gives a client another share in another cohort")


def the_bound_moves_towards_the_norms(clipping: Clipping) -> None:
    """C never falls when every update is clipped, never grows when none is, and one of the two moves it."""
    adaptive = _adaptive(clipping)
    if adaptive is None:
        return
    moved = []
    for length in (1e12, 1e-12):
        norms = torch.full((20,), length * _FACTS.clip_norm, dtype=torch.float64)
        moved.append(adaptive.move(float(adaptive.statistic(norms, _FACTS).mean()), _FACTS))
    up, down = moved
    require(up >= _FACTS.clip_norm, f"C falls to {up} although every update was clipped at 0.7")
    require(down <= _FACTS.clip_norm, f"C grows to {down} although no update was clipped at 0.7")
    require(up > down, f"C stays at {up} whatever the norms are")


def the_next_clip_norm_is_finite_and_above_0(clipping: Clipping) -> None:
    """Even after a thousand rounds at an end of the statistic's range, or beyond, where noise takes it."""
    adaptive = _adaptive(clipping)
    for mean in () if adaptive is None else (-30.0, -1.0, 0.0, 0.5, 1.0, 2.0, 30.0):
        c = _FACTS.clip_norm
        for _ in range(1000):
            c = cast(AdaptiveClipping, adaptive).move(mean, PublicFacts(c, 1.0, 301, 20.0))
            require(isfinite(c) and c > 0, f"move gives C = {c} at a mean of {mean}")


CLIPPING_CHECKS: tuple[Callable[[Clipping], None], ...] = (
    no_row_is_longer_than_the_clip_norm,
    no_row_of_any_cohort_is_left_as_long_as_it_was,
    a_row_depends_on_itself_alone,
    zero_stays_zero_and_an_empty_cohort_empty,
    a_row_that_is_not_finite_does_not_become_finite,
    the_input_is_left_as_it_was,
    a_statistic_lies_between_0_and_1_and_is_each_clients_own,
    the_bound_moves_towards_the_norms,
    the_next_clip_norm_is_finite_and_above_0,
)
