"""Budgets that a run cannot keep and labels that its data do not have, as far as known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....core.declarations import DataAttacks, declared
from ....core.errors import ScenarioError
from ...guarantee.guard import out_of_budget
from ...guarantee.promise import broken_promise

if TYPE_CHECKING:
    from ....clients.data.base import FederatedData
    from ....core.contracts import Goal
    from ...plan import Plan
    from ...spec import RunSpec
    from ...state import ServerState
    from ..fitted import Fitted


@dataclass(frozen=True)
class Prospect:
    """A run before its first round.

    Attributes:
        spec: As it was asked for.
        plan: Its plan.
        first: The state before round 0.
        data: The clients' data.
        goals: What the attackers want of the model, by name.
    """

    spec: RunSpec
    plan: Plan
    first: ServerState
    data: FederatedData
    goals: list[tuple[str, Goal]]


def a_large_delta(prospect: Prospect) -> ScenarioError | None:
    """A delta that makes any epsilon small, unless the run says that it is meant."""
    accountant, most = prospect.plan.accountant, prospect.spec.max_delta
    delta = accountant.delta
    if delta is None or delta <= most:
        return None
    return ScenarioError(
        f"delta = {delta:g} is above max_delta = {most:g}: epsilon may fail with that probability; set "
        f"privacy.delta below 1 / {accountant.num_clients}, or max_delta = {delta:g} if it is meant"
    )


def a_budget_that_cannot_hold(prospect: Prospect) -> ScenarioError | None:
    """An epsilon that some round of the run leaves without a guarantee."""
    why = broken_promise(prospect.plan, prospect.spec, prospect.first, prospect.data)
    return None if why is None else ScenarioError(why)


def a_budget_below_one_round(prospect: Prospect) -> ScenarioError | None:
    """A ``max_epsilon`` that not even the first round keeps."""
    broke = out_of_budget(prospect.plan, prospect.first)
    return None if broke is None else ScenarioError(f"not even one round can run: {broke}")


def a_changed_label_that_is_none(fitted: Fitted) -> ScenarioError | None:
    """An attack on a label that the data do not have."""
    for role in (*fitted.parts.roles[0], *fitted.parts.roles[1]):
        labels = declared(role.attack, DataAttacks.sources)
        if refusal := _outside(role.kind, "changes", labels, fitted.data):
            return refusal
    return None


def a_wanted_label_that_is_none(prospect: Prospect) -> ScenarioError | None:
    """An attack that wants a label that the data do not have."""
    for kind, goal in prospect.goals:
        if refusal := _outside(kind, "wants", sorted(set(goal.wanted.tolist())), prospect.data):
            return refusal
    return None


def _outside(kind: str, verb: str, labels: Iterable[int], data: FederatedData) -> ScenarioError | None:
    outside = [label for label in labels if not 0 <= label < data.num_classes]
    if not outside:
        return None
    return ScenarioError(
        f"attack '{kind}' {verb} label {outside[0]}; {data.name} has labels 0 to {data.num_classes - 1}"
    )
