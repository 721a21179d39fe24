"""One-shot canaries: clients of random directions, found again in the released model.

Source: Andrew, Kairouz, Oh, Oprea, McMahan, Suriyakumar. One-shot Empirical Privacy Estimation for
Federated Learning. ICLR 2024, arXiv:2302.03098 (abstract and authors' code). Gauntlet's own: the estimate
with the variance of unseen directions, and the Bonferroni correction of the lower bound.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np

from ...core.contracts import Audited
from .auditing import (
    fitted_epsilon,
    null_tail,
    share_above,
    shared_variance_epsilon,
    threshold_epsilon,
)


@dataclass(frozen=True)
class OneShotCanaries:
    """Compare the cosines of all canaries with those of directions that nobody sent.

    The estimate needs P far above ``num_canaries``, and is pulled towards 0 where honest clients move the
    model much further than the noise does. Canaries move the model too: few of them beside many clients
    leave its accuracy alone.

    Attributes:
        num_canaries: Canaries in the population, at least 2.
        num_unseen: Directions that nobody sends, at least 0: what the largest cosine over the rounds is
            compared with, so ``statistic = "max"`` needs at least 2. The final cosine needs none, its
            distribution being known.
        statistic: ``"final"``: with the whole change of the model. ``"max"``: the largest over the rounds'
            changes.
        delta: For which epsilon is asked, between 0 and 1; that of the mechanism by default.
        alpha: Probability that the lower bound may fail, between 0 and 1.
        low: ``"bonferroni"``: the thresholds share ``alpha``. ``"paper"``: each has all of it, and the bound
            fails too often; for comparison only.
    """

    num_canaries: int = 100
    num_unseen: int = 0
    statistic: Literal["final", "max"] = "final"
    delta: float | None = None
    alpha: float = 0.05
    low: Literal["bonferroni", "paper"] = "bonferroni"

    def __post_init__(self) -> None:
        if self.num_canaries < 2:
            raise ValueError(f"num_canaries must be at least 2, got {self.num_canaries}")
        least = 2 if self.statistic == "max" else 0
        if self.num_unseen < least:
            raise ValueError(
                f"num_unseen must be at least {least} with statistic '{self.statistic}', "
                f"got {self.num_unseen}"
            )
        for name in ("delta", "alpha"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} must be between 0 and 1, both excluded, got {value}")

    def present(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """Return that everybody takes part.  # [num_canaries]"""
        return np.ones(self.num_canaries, dtype=bool)

    def judge(
        self,
        scores: np.ndarray[Any, Any],
        present: np.ndarray[Any, Any],
        dimension: int,
        delta: float,
        generator: np.random.Generator,
    ) -> Audited:
        seen, unseen = scores[: self.num_canaries], scores[self.num_canaries :]
        final = self.statistic == "final"
        mean, std = (0.0, 1 / sqrt(dimension)) if final else (float(unseen.mean()), float(unseen.std(ddof=1)))
        level = self.alpha if final else self.alpha / 2  # half of it for unseen directions

        def false_alarms(thresholds: np.ndarray[Any, Any], level: float) -> np.ndarray[Any, Any]:
            return null_tail(thresholds, dimension) if final else share_above(unseen, thresholds, level)

        fitted = (float(seen.mean()), float(seen.std(ddof=1)))
        return Audited(
            epsilon_low=threshold_epsilon(seen, false_alarms, delta, level, self.low == "bonferroni"),
            epsilon_est=shared_variance_epsilon(fitted[0] - mean, std, delta),
            confidence=1 - self.alpha,
            details={
                "mean": fitted[0],
                "std": fitted[1],
                "unseen_mean": mean,
                "unseen_std": std,
                "epsilon_est_paper": fitted_epsilon(fitted, (mean, std), delta),
            },
        )
