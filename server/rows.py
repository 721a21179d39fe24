"""Who stands in the rows that a defense sees: what goes with that, and whom its verdict may name."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from torch import equal

from ..core.contracts import Defense, PreAggregation, Sampler, Sampling, Verdict
from ..core.declarations import Defenses, PreAggregations, Samplers, declared
from ..core.errors import CohortError, ScenarioError
from ..core.registry import options_of
from ..core.updates import Updates
from .spec import PluginSpec, RunSpec

SIZED = ("full", "fixed_size", "round_robin")  # schemes whose cohorts have a largest size


def check_rows(
    spec: RunSpec,
    pre_aggregations: Sequence[PreAggregation],
    defense: Defense,
    sampler: Sampler,
    sampling: Sampling,
) -> None:
    """Refuse a defense, or a pre-aggregation, that can do nothing with the rows that it would see.

    Raises:
        ScenarioError: It keeps single clients in mind behind one whose rows are groups of clients, or needs a
            client that does not exist.
        CohortError: Even the largest cohort is too small for it.
    """
    _refuse_memory_of_groups(spec, pre_aggregations, defense)
    _refuse_strangers(spec, defense)
    if sampling.scheme not in SIZED or declared(sampler, Samplers.sampling_at) is not None:
        return
    cohort = rows = ceil(sampling.expected_size - 1e-9)
    for noun, named, plugin in steps_of(spec, pre_aggregations, defense):
        least = declared(plugin, Defenses.least_cohort)
        if rows < least:
            behind = "" if rows == cohort else f", of which pre-aggregation leaves {rows} rows"
            choice = ", or set on_infeasible" if "on_infeasible" in options_of(plugin) else ""
            raise CohortError(
                f"{noun} '{named}' needs {least} rows or more, got a cohort of {cohort}{behind}; "
                f"change its options, enlarge the cohort{choice}"
            )
        rows = rows_after(plugin, rows)


def steps_of(
    spec: RunSpec, pre_aggregations: Sequence[PreAggregation], defense: Defense
) -> list[tuple[str, PluginSpec, object]]:
    """Return what a cohort goes through, in order: what it is called, as it was named, and the plug-in."""
    before = zip(spec.pre_aggregations, pre_aggregations, strict=True)
    return [*(("pre-aggregation", s, p) for s, p in before), ("defense", spec.defense, defense)]


def _refuse_strangers(spec: RunSpec, defense: Defense) -> None:
    needed: tuple[int, ...] = declared(defense, Defenses.needs_clients)
    for client in needed:
        if client >= spec.num_clients:
            raise ScenarioError(
                f"defense '{spec.defense}' needs client {client} in every round; "
                f"allowed: 0 to {spec.num_clients - 1}"
            )


def _refuse_memory_of_groups(
    spec: RunSpec, pre_aggregations: Sequence[PreAggregation], defense: Defense
) -> None:
    if not declared(defense, Defenses.remembers_clients):
        return
    for named, plugin in zip(spec.pre_aggregations, pre_aggregations, strict=True):
        if rows_after(plugin, spec.num_clients) < spec.num_clients:
            raise ScenarioError(
                f"defense '{spec.defense.name}' remembers single clients, and behind pre-aggregation "
                f"'{named}' each row is another group of clients in every round; leave out one of the two"
            )


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
