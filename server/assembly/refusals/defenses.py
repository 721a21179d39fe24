"""Rules that can do nothing with the rows that they would see."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from ....core.declarations import Defenses, Samplers, Schedules, declared
from ....core.errors import CohortError, ScenarioError
from ....core.options import options_of
from ...cohort.rows import SIZED, rows_after, steps_of

if TYPE_CHECKING:
    from ..parts import Parts


def a_defense_without_its_root(parts: Parts) -> ScenarioError | None:
    """A defense that trains, or runs models, on the server's own examples, and there are none."""
    spec = parts.spec
    if not declared(parts.defense, Defenses.needs_root) or spec.root_examples:
        return None
    does = "runs models" if declared(parts.defense, Defenses.runs_models) else "trains"
    return ScenarioError(
        f"defense '{spec.defense.name}' {does} on examples of the server's own: root_examples must be "
        f"above 0, got {spec.root_examples}"
    )


def a_plant_where_canaries_are_looked_for(parts: Parts) -> ScenarioError | None:
    """A defense that plants something, and an audit that looks at how the model moves from what went down."""
    spec = parts.spec
    if declared(parts.defense, Defenses.prepare) is None or not parts.audit.num_canaries:
        return None
    return ScenarioError(
        f"audit '{spec.audit.name}' looks for its canaries in the step from what went down, and defense "
        f"'{spec.defense.name}' plants something in that; leave out one of the two"
    )


def a_certificate_behind_other_rules(parts: Parts) -> ScenarioError | None:
    """A defense that certifies what its own rule bounds, behind one that lets clients move others' rows."""
    spec = parts.spec
    if declared(parts.defense, Defenses.evaluate) is None or not spec.pre_aggregations:
        return None
    return ScenarioError(
        f"defense '{spec.defense.name}' certifies what its own rule lets a client do, and pre-aggregation "
        f"'{spec.pre_aggregations[0]}' lets it change others' rows; leave out one of the two"
    )


def a_memory_of_clients_behind_groups(parts: Parts) -> ScenarioError | None:
    """A defense that keeps single clients in mind, behind one whose rows are groups of clients."""
    spec = parts.spec
    if not declared(parts.defense, Defenses.remembers_clients):
        return None
    for named, plugin in zip(spec.pre_aggregations, parts.pre_aggregations, strict=True):
        if rows_after(plugin, spec.num_clients) < spec.num_clients:
            return ScenarioError(
                f"defense '{spec.defense.name}' remembers single clients, and behind pre-aggregation "
                f"'{named}' each row is another group of clients in every round; leave out one of the two"
            )
    return None


def a_client_that_a_defense_misses(parts: Parts) -> ScenarioError | None:
    """A defense that needs a client that the population does not have."""
    spec = parts.spec
    for client in declared(parts.defense, Defenses.needs_clients):
        if client >= spec.num_clients:
            return ScenarioError(
                f"defense '{spec.defense}' needs client {client} in every round; allowed: 0 to "
                f"{spec.num_clients - 1}"
            )
    return None


def cohorts_that_are_all_too_small(parts: Parts) -> ScenarioError | None:
    """A rule for which even the largest cohort is too small."""
    spec, sampling = parts.spec, parts.sampling
    plain = declared(parts.schedule, Schedules.plain)
    sized = sampling.scheme in SIZED and declared(parts.sampler, Samplers.sampling_at) is None
    if plain and not sized:
        return None
    cohort = rows = ceil(sampling.expected_size - 1e-9)
    for noun, named, plugin in steps_of(spec, parts.pre_aggregations, parts.defense):
        least = declared(plugin, Defenses.least_cohort)
        if rows < least:
            behind = "" if rows == cohort else f", of which pre-aggregation leaves {rows} rows"
            choice = ", or set on_infeasible" if "on_infeasible" in options_of(plugin) else ""
            return CohortError(
                f"{noun} '{named}' needs {least} rows or more, got a cohort of {cohort}{behind}; "
                f"change its options, enlarge the cohort{choice}"
            )
        rows = rows_after(plugin, rows)
    return None
