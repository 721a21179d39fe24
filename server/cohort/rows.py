"""Who stands in the rows that a defense sees, and whom its verdict may name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import equal

from ...core.contracts import Defense, PreAggregation, Verdict
from ...core.declarations import PreAggregations, declared

if TYPE_CHECKING:
    from ...core.updates import Updates
    from ..spec import PluginSpec, RunSpec

SIZED = ("full", "fixed_size", "round_robin")  # schemes whose cohorts have a largest size


def steps_of(
    spec: RunSpec, pre_aggregations: Sequence[PreAggregation], defense: Defense
) -> list[tuple[str, PluginSpec, object]]:
    """Return what a cohort goes through, in order: what it is called, as it was named, and the plug-in."""
    before = zip(spec.pre_aggregations, pre_aggregations, strict=True)
    return [*(("pre-aggregation", s, p) for s, p in before), ("defense", spec.defense, defense)]


def rows_after(plugin: object, rows: int) -> int:
    """Return how many rows a pre-aggregation makes of so many."""
    count = declared(plugin, PreAggregations.rows_after)
    return rows if count is None else int(count(rows))


def about_clients(
    verdict: Verdict, pre_aggregations: Sequence[PreAggregation], came: Updates, screened: Updates
) -> Verdict:
    """Return a verdict with what it says of single clients, and no more.

    Where fewer rows were ``screened`` than clients ``came``, a row's client id is a loan, and no flag, score
    or detail is anybody's. Where a row is still one client's but others' updates are in it, they stay, and
    only the weights, which are shares of the aggregate, are nobody's.
    """
    if not equal(screened.client_ids, came.client_ids):
        return Verdict(verdict.aggregate)
    mixed = any(declared(plugin, PreAggregations.mixes_clients) for plugin in pre_aggregations)
    return replace(verdict, weights=None) if mixed else verdict
