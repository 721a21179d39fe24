"""What the server makes of a cohort by pre-aggregations and defense, and of one that they cannot judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ...core.contracts import LinearDefense, Verdict
from ...core.declarations import Algorithms, Defenses, Mechanisms, declared, name_of
from ...core.errors import ForbiddenWrite, InfeasibleCohort, PluginError
from ...core.updates import Updates, finite_rows, weighted_sum
from ...defenses.parts.memory import stored
from ..cohort.rows import about_clients

if TYPE_CHECKING:
    from ...core.trees import State
    from ..plan import Plan
    from ..state import ServerState

STAYS = "the model stays as it was"


@dataclass(frozen=True)
class Decision:
    """What became of a cohort.

    Attributes:
        verdict: The decision, with what it says of single clients.
        pre_aggregations, defense: The rules' memories afterwards.
    """

    verdict: Verdict
    pre_aggregations: tuple[State, ...]
    defense: State


def decide(plan: Plan, updates: Updates, pre_aggregations: Sequence[State], defense: State) -> Decision:
    """Return what the rules make of a cohort, given their memories.

    Where one of them cannot judge it (too few clients came, or not the one that it needs), the aggregate is
    the zero update, the verdict says why, and the memories stay as they were. So no cohort that chance made
    small ends a run: resumed, it would meet the same cohort again.

    Raises:
        PluginError: A rule raised for any other reason.
    """
    before = tuple(pre_aggregations)
    try:
        decision = _asked(plan, updates, before, defense)
    except PluginError as error:
        if not _is_refusal(plan, updates, error):
            raise
        zero = updates.vectors.new_zeros(updates.vectors.shape[1])
        reason = " ".join(str(error).split()) if len(updates) else "no update can be counted"
        return Decision(Verdict(zero, fallback=f"{reason}: {STAYS}"), before, defense)
    if len(updates) or declared(plan.defense, Defenses.linear):
        return decision
    zero = updates.vectors.new_zeros(updates.vectors.shape[1])
    verdict = Verdict(zero, fallback=f"no update can be counted: {STAYS}")
    return Decision(verdict, decision.pre_aggregations, decision.defense)


def combined(plan: Plan, updates: Updates, state: ServerState) -> tuple[Decision, State]:
    """Return what the algorithm makes of a cohort in the place of a defense, and its server half's memory.

    Raises:
        PluginError: It raised, or returned something of the wrong shape.
    """
    combine = declared(plan.optimizer, Algorithms.combine)
    assert combine is not None
    verdict, memory = combine(updates, state.optimizer, plan.sampling.num_clients)
    return Decision(verdict, state.pre_aggregations, state.defense), memory


def _asked(plan: Plan, updates: Updates, memories: tuple[State, ...], memory: State) -> Decision:
    """Return what the rules say.

    Raises:
        InfeasibleCohort: One is not asked, for fewer rows come to it than it declares to need.
        PluginError: A rule raised, or a pre-aggregation made of finite rows others that are not.
    """
    screened, after = updates, []
    for plugin, before in zip(plan.pre_aggregations, memories, strict=True):
        _check_size("pre-aggregation", plugin, screened)
        screened, state = plugin.transform(_shown(plugin, screened), before)
        if not bool(finite_rows(screened).all()):
            noun = f"pre-aggregation {name_of(plugin)}"
            raise PluginError(f"{noun}: transform returned NaN or infinity from finite updates")
        after.append(state)
    _check_size("defense", plan.defense, screened)
    verdict, defense = _aggregated(plan, _shown(plan.defense, screened), memory)
    told = about_clients(verdict, plan.pre_aggregations, updates, screened)
    return Decision(told, tuple(after), defense)


def _aggregated(plan: Plan, updates: Updates, memory: State) -> tuple[Verdict, State]:
    """Return the defense's verdict; where the server sees a plain sum, on that and on no message in it."""
    if not declared(plan.privacy, Mechanisms.sum_only):
        return plan.defense.aggregate(updates, memory)
    rule = cast(LinearDefense, plan.defense)
    counts = rule.counts(updates.num_examples)
    denominator = rule.denominator(counts, updates.expected_size)
    mean = stored(weighted_sum(updates.vectors, counts) / denominator, updates.vectors.dtype)  # [M]
    return Verdict(mean, counts / denominator), memory


def _shown(plugin: object, rows: Updates) -> Updates:
    """Return the rows as a rule sees them: without what clients state beside them, unless it says so."""
    return rows if declared(plugin, Defenses.facts) else rows.with_facts(None)


def _check_size(noun: str, plugin: object, rows: Updates) -> None:
    least = declared(plugin, Defenses.least_cohort)
    if 0 < len(rows) < least:
        name = type(getattr(plugin, "__wrapped__", plugin)).__name__
        raise InfeasibleCohort(f"{noun} {name} needs {least} rows or more, got {len(rows)}")


def _is_refusal(plan: Plan, updates: Updates, error: PluginError) -> bool:
    """Return whether a rule says that it cannot judge this cohort, and does not fail for another reason.

    A plain ``ValueError`` says so of a cohort that is smaller than the run's should be. A rule that wrote
    into what it was handed says nothing: the model may no longer be what it was.
    """
    if isinstance(error, ForbiddenWrite):
        return False
    if isinstance(error, InfeasibleCohort) or len(updates) == 0:
        return True
    return isinstance(error.__cause__, ValueError) and len(updates) < plan.sampling.expected_size
