"""Say before a run which of its rules may meet cohorts that they cannot judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.declarations import Defenses, Networks, Schedules, UpdateAttacks, declared
from ...core.options import options_of
from ..cohort.rows import SIZED, rows_after, steps_of
from .decision import STAYS

if TYPE_CHECKING:
    from ..plan import Plan
    from ..spec import RunSpec

RARE = 1e-9
"""A chance for the whole run below which nothing is said."""


def warnings_of(spec: RunSpec, plan: Plan) -> list[str]:
    """Return one line a rule that a round may bring too few clients, or not the ones that it needs."""
    found = []
    for place, (noun, named, plugin) in enumerate(steps_of(spec, plan.pre_aggregations, plan.defense)):
        needed = _clients_for(plan, place, declared(plugin, Defenses.least_cohort))
        wanted: tuple[int, ...] = declared(plugin, Defenses.needs_clients)
        absent = [client for client in wanted if _may_miss(plan, client)]
        if why := _may_be_below(plan, needed, spec.rounds):
            need = f"{needed} clients in a round, and fewer may come ({why})"
        elif absent:
            need = f"client {absent[0]} in every round, and it may not come"
        else:
            continue
        choice = "; on_infeasible says what else to do" if "on_infeasible" in options_of(plugin) else ""
        found.append(f"{noun} '{named}' needs {need}: in such a round {STAYS}{choice}")
    return found


def _clients_for(plan: Plan, place: int, least: int) -> int:
    """Return the fewest clients of whom so many rows are left before the rule at ``place``."""
    clients = least
    while _rows_before(plan, place, clients) < least and clients < plan.sampling.num_clients:
        clients += 1
    return clients


def _rows_before(plan: Plan, place: int, clients: int) -> int:
    rows = clients
    for plugin in plan.pre_aggregations[:place]:
        rows = rows_after(plugin, rows)
    return rows


def _may_be_below(plan: Plan, needed: int, rounds: int) -> str:
    """Return why a round may bring fewer clients, but not none, or nothing where none may."""
    if needed <= 1:
        return ""
    if _may_lose(plan):
        return "messages may not arrive"
    sampling = plan.sampling
    if sampling.scheme == "poisson":
        from scipy.stats import binom  # takes more than half a second to load

        chance = float(binom.cdf(needed - 1, sampling.num_clients, sampling.sample_rate))
        if rounds * chance > RARE:
            return "cohorts are drawn at random"
    elif not plan.plain:
        if declared(plan.schedule, Schedules.size) is None:
            return "the schedule may leave some behind"
        if plan.sampler.sampling(sampling.num_clients).scheme != "full":
            return "fewer clients may begin"
    elif sampling.scheme not in SIZED:
        return "cohorts are drawn at random"
    if sampling.expected_size - len(_refused(plan)) < needed:
        return "what attackers send is refused"
    return ""


def _may_miss(plan: Plan, client: int) -> bool:
    return plan.sampling.scheme != "full" or _may_lose(plan) or client in _refused(plan)


def _may_lose(plan: Plan) -> bool:
    may = declared(plan.network, Networks.may_lose)
    return not declared(plan.network, Networks.complete) if may is None else may


def _refused(plan: Plan) -> set[int]:
    """Return the clients of whom nothing is counted while they attack."""
    roles = [role for role in plan.attacks if declared(role.attack, UpdateAttacks.refused)]
    drawn = {c for role in roles if role.sampled for c in role.sampled(role.start_round)}
    return drawn | {c for role in roles for c in role.clients}
