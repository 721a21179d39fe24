"""What every pre-aggregation owes, as checks that raise ``PluginError``."""

from collections.abc import Callable

import torch

from ...core.contracts import PreAggregation
from ...core.declarations import PreAggregations, declared
from ...core.errors import PluginError
from ...core.registry import require
from ...core.replies import REPLIES
from ...core.updates import Updates
from ...core.wanted import is_plain, kind_of
from .trials import (
    a_cohort,
    a_partial_cohort,
    guarded,
    plain,
    require_checkpoint,
    require_same,
    require_untouched,
    rounds_for,
)


def _transform(plugin: PreAggregation, updates: Updates) -> Updates:
    bound = guarded(plugin)
    out, _ = bound.transform(updates, bound.init())
    _check_transformed(out, updates)
    checked: Updates = out
    return checked


def _check_transformed(out: object, updates: Updates) -> None:
    if not isinstance(out, Updates):
        raise PluginError(f"transform must return (Updates, state), got a {type(out).__name__} first")
    size, dtype = updates.vectors.shape[1], updates.vectors.dtype
    require(
        out.vectors.shape[1] == size, f"rows must keep their {size} coordinates, got {out.vectors.shape[1]}"
    )
    require(out.vectors.dtype == dtype, f"rows must stay {dtype}, got {out.vectors.dtype}")
    require(is_plain(out.vectors), f"rows must be a plain tensor, got {kind_of(out.vectors)}")
    require(bool(out.vectors.isfinite().all()), "finite updates were turned into others that are not")
    strangers = set(out.client_ids.tolist()) - set(updates.client_ids.tolist())
    require(not strangers, f"clients outside the cohort came out: {sorted(strangers)}")
    require(len(out) > 0 or len(updates) == 0, "no client is left")
    REPLIES["pre_aggregations"]["transform"]((out, None), updates)


def a_cohort_stays_a_cohort(plugin: PreAggregation) -> None:
    """Clients of the cohort, finite rows of the same width and type, as many as are declared."""
    rows_after = declared(plugin, PreAggregations.rows_after)
    for cohort in rounds_for(plugin):
        rows = len(_transform(plugin, cohort))
        says = rows if rows_after is None else rows_after(len(cohort))
        require(rows == says, f"{len(cohort)} clients became {rows} rows, declared {says}")


def rows_of_any_size_stay_finite(plugin: PreAggregation) -> None:
    """One row, or all, as long as float32 can say: no attacker ends a run by its length."""
    cohort = rounds_for(plugin)[0]
    largest = torch.finfo(cohort.vectors.dtype).max
    one = cohort.vectors.clone()
    one[0] = largest
    for vectors in (one, largest * cohort.vectors.sign()):
        _transform(plugin, cohort.with_vectors(vectors))


def one_client_or_none_is_handled(plugin: PreAggregation) -> None:
    """K = 0 stays empty; K = 1 gives a cohort, or a ``ValueError`` that says why not."""
    require(len(_transform(plugin, a_cohort(0, 0))) == 0, "an empty cohort must stay empty")
    bare, single = plain(plugin), a_cohort(0, 1)
    try:
        out, _ = bare.transform(single, bare.init())
    except ValueError as error:
        require(bool(str(error)), "a cohort of one is refused without a word")
        return
    except Exception as error:
        raise PluginError(f"a cohort of one raises {type(error).__name__}: {error}") from error
    _check_transformed(out, single)


def a_pre_aggregation_leaves_its_inputs_as_they_were(plugin: PreAggregation) -> None:
    """Neither the updates nor the state are changed in place."""
    bound = guarded(plugin)
    require_untouched(bound.transform, rounds_for(plugin), bound.init())


def a_pre_aggregation_remembers_nothing_outside_its_state(plugin: PreAggregation) -> None:
    """Equal rounds give equal bits."""
    bound = guarded(plugin)
    require_same(bound.transform, rounds_for(plugin), bound.init())


def a_pre_aggregation_survives_a_checkpoint(plugin: PreAggregation) -> None:
    """Saved and restored, it goes on to the same bits."""
    bound = guarded(plugin)
    require_checkpoint(bound.transform, rounds_for(plugin), bound.init())


def what_is_absent_stays_absent(plugin: PreAggregation) -> None:
    """One that declares ``partial`` leaves 0 what a client's level lacks, and the levels where they are."""
    if not declared(plugin, PreAggregations.partial):
        return
    before = a_partial_cohort(0, plugin)
    out = _transform(plugin, before)
    if out.presence is None or before.presence is None:
        raise PluginError("rows of clients that lack coordinates must keep their presence")
    for level, client in zip(out.presence.level.tolist(), out.client_ids.tolist(), strict=True):
        own = int(before.presence.level[before.client_ids == client])
        require(level == own, f"client {client} of level {own} came out with level {level}")


PRE_AGGREGATION_CHECKS: tuple[Callable[[PreAggregation], None], ...] = (
    a_cohort_stays_a_cohort,
    rows_of_any_size_stay_finite,
    one_client_or_none_is_handled,
    a_pre_aggregation_leaves_its_inputs_as_they_were,
    a_pre_aggregation_remembers_nothing_outside_its_state,
    a_pre_aggregation_survives_a_checkpoint,
    what_is_absent_stays_absent,
)
