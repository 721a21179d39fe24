"""What a defense does with a cohort that is too small for the malicious clients it must survive."""

from dataclasses import replace
from typing import Literal

from ...core.contracts import Verdict
from ...core.errors import InfeasibleCohort
from ...core.updates import Updates
from ..mean import Mean
from ..median import Median

OnInfeasible = Literal["raise", "mean", "median"]
CHOICES = ("raise", "mean", "median")
REMEDY = "lower num_byzantine, raise the cohort"


def check_robustness(num_byzantine: int, on_infeasible: str, choices: tuple[str, ...] = CHOICES) -> None:
    """Raise ``ValueError`` unless the two options that robust rules share are in range."""
    if num_byzantine < 0:
        raise ValueError(f"num_byzantine must be at least 0, got {num_byzantine}")
    if on_infeasible not in choices:
        raise ValueError(f"on_infeasible must be one of {', '.join(choices)}, got '{on_infeasible}'")


def fall_back(how: OnInfeasible, updates: Updates, reason: str, remedy: str = REMEDY) -> Verdict:
    """Return the uniform mean or the median instead.

    Raises:
        InfeasibleCohort: ``how`` is ``"raise"``: reason and remedy.
    """
    if how == "raise":
        raise InfeasibleCohort(f"{reason}; {remedy}, or set on_infeasible to mean or median")
    rule = Mean(weighting="uniform") if how == "mean" else Median()
    return replace(rule.aggregate(updates, None)[0], fallback=f"{reason}: the {how} instead")


def least_majority(num_byzantine: int, on_infeasible: str) -> int:
    """Return the smallest cohort, if not empty, in which so many are a minority or that need not have one."""
    return 2 * num_byzantine + 1 if on_infeasible == "raise" else 1


def without_majority(rule: str, num_byzantine: int, how: OnInfeasible, updates: Updates) -> Verdict | None:
    """Return what becomes of a cohort that is empty or has no honest majority; None where there is one.

    Raises:
        InfeasibleCohort: There is none, and ``how`` is ``"raise"``.
    """
    if len(updates) == 0:
        return Verdict(updates.vectors.sum(dim=0))
    if len(updates) > 2 * num_byzantine:
        return None
    reason = (
        f"{rule} against {num_byzantine} malicious clients needs a cohort above {2 * num_byzantine}, "
        f"got {len(updates)}"
    )
    return fall_back(how, updates, reason)
