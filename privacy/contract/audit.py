"""What every audit owes, as checks that raise ``PluginError`` when it is broken."""

from collections.abc import Callable
from math import isfinite, sqrt
from typing import Any

import numpy as np

from ...core.contracts import Audit, Audited
from ...core.registry import require
from ...core.seeds import generator

_DIMENSION, _DELTA = 10_000, 1e-5
_TRIALS, _ALLOWED = 10, 3  # of 10 audits of nothing, each wrong with 5 %, more than 3 fail with 1e-3


def _scores(audit: Audit, present: np.ndarray[Any, Any], shift: float, number: int) -> np.ndarray[Any, Any]:
    """Return cosines of random directions; those that are present are higher by ``shift`` deviations."""
    seen = np.concatenate([present, np.zeros(audit.num_unseen, dtype=bool)])
    noise = generator(0, "audit contract", number).standard_normal(len(seen))
    return np.asarray((noise + shift * seen) / sqrt(_DIMENSION))


def _judged(audit: Audit, shift: float, number: int = 0) -> Audited:
    present = audit.present(generator(0, "audit contract present", number))
    stream = generator(0, "audit contract judge", number)
    return audit.judge(_scores(audit, present, shift, number), present, _DIMENSION, _DELTA, stream)


def declares_its_canaries(audit: Audit) -> None:
    """Counts are whole and at least 0, the statistic is known, delta a probability or None."""
    for name in ("num_canaries", "num_unseen"):
        value = getattr(audit, name)
        require(isinstance(value, int) and value >= 0, f"{name} must be a whole number, got {value!r}")
    require(audit.statistic in ("final", "max"), f"statistic must be final or max, got {audit.statistic!r}")
    delta = audit.delta
    require(delta is None or 0 < delta < 1, f"delta must be between 0 and 1, or None, got {delta!r}")


def says_for_each_canary_whether_it_is_present(audit: Audit) -> None:
    """``present`` is bool, one for each canary, and follows from its stream alone."""
    one, two = (audit.present(generator(0, "audit contract present", 1)) for _ in range(2))
    require(
        one.dtype == bool and one.shape == (audit.num_canaries,),
        f"present must be bool [{audit.num_canaries}], got {one.dtype} {list(one.shape)}",
    )
    require(bool((one == two).all()), "equal streams gave two different sets of canaries")


def a_verdict_is_finite_and_follows_from_its_arguments(audit: Audit) -> None:
    """Also where every canary shouts, or none does."""
    for shift in (0.0, 3.0, 50.0):
        one, two = _judged(audit, shift), _judged(audit, shift)
        require(one == two, "equal scores and streams gave two different verdicts")
        low, est = one.epsilon_low, one.epsilon_est
        require(isfinite(low) and low >= 0, f"epsilon_low must be finite and at least 0, got {low}")
        require(est is None or (isfinite(est) and est >= 0), f"epsilon_est must be finite, got {est}")
        require(0 < one.confidence <= 1, f"confidence must be above 0 and at most 1, got {one.confidence}")


def the_scores_are_left_as_they_were(audit: Audit) -> None:
    """``judge`` writes into nothing that it is given."""
    present = audit.present(generator(0, "audit contract present"))
    scores = _scores(audit, present, 1.0, 0)
    before, who = scores.copy(), present.copy()
    audit.judge(scores, present, _DIMENSION, _DELTA, generator(0, "audit contract judge"))
    require(bool((scores == before).all() and (present == who).all()), "judge writes into its arguments")


def scores_that_tell_nothing_certify_nothing(audit: Audit) -> None:
    """Where canaries look like unseen directions, the bound is 0, but for the chance that it may fail."""
    wrong = sum(_judged(audit, 0.0, number).epsilon_low > 0.01 for number in range(_TRIALS))
    require(wrong <= _ALLOWED, f"{wrong} of {_TRIALS} audits of nothing found a leak, allowed {_ALLOWED}")


def scores_that_tell_everything_certify_something(audit: Audit) -> None:
    """Canaries 50 standard deviations away are found by any audit that has enough of them."""
    if audit.num_canaries >= 20:
        low = _judged(audit, 50.0).epsilon_low
        require(low > 1.0, f"canaries that cannot be missed certify no more than epsilon {low}")


AUDIT_CHECKS: tuple[Callable[[Audit], None], ...] = (
    declares_its_canaries,
    says_for_each_canary_whether_it_is_present,
    a_verdict_is_finite_and_follows_from_its_arguments,
    the_scores_are_left_as_they_were,
    scores_that_tell_nothing_certify_nothing,
    scores_that_tell_everything_certify_something,
)
