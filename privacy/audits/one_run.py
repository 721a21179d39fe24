"""Auditing with one run: every canary is in or out by a coin, and the auditor guesses which.

Source: Steinke, Nasr, Jagielski. Privacy Auditing with One (1) Training Run. NeurIPS 2023,
arXiv:2305.08846 (Theorem 5.2 and its tail bound; canaries in update space, one client each).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import Audited
from .auditing import guesses_epsilon


@dataclass(frozen=True)
class OneRun:
    """Guess "in" for the highest cosines and "out" for the lowest, and count the right guesses.

    r right guesses out of r certify an epsilon of about ln(r / 3) at most: 100 guesses none above 3.5.

    Attributes:
        num_canaries: Canaries that toss a coin (m), at least 2.
        num_guesses: Guesses made (r), half of them "in" and half "out", even, at least 2 and at most
            ``num_canaries``: chosen before any score is seen. All canaries by default, less one if odd.
        delta: For which epsilon is asked, between 0 and 1; that of the mechanism by default.
        beta: Probability that the lower bound may fail, between 0 and 1.
    """

    num_canaries: int = 100
    num_guesses: int | None = None
    delta: float | None = None
    beta: float = 0.05

    num_unseen: ClassVar[int] = 0
    statistic: ClassVar[str] = "final"

    def __post_init__(self) -> None:
        if self.num_canaries < 2:
            raise ValueError(f"num_canaries must be at least 2, got {self.num_canaries}")
        r = self.num_guesses
        if r is not None and (r % 2 or not 2 <= r <= self.num_canaries):
            raise ValueError(f"num_guesses must be even, from 2 to {self.num_canaries}, got {r}")
        for name in ("delta", "beta"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} must be between 0 and 1, both excluded, got {value}")

    def present(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """Toss one fair coin a canary.  # [num_canaries]"""
        return generator.random(self.num_canaries) < 0.5

    def judge(
        self,
        scores: np.ndarray[Any, Any],
        present: np.ndarray[Any, Any],
        dimension: int,
        delta: float,
        generator: np.random.Generator,
    ) -> Audited:
        half = (self.num_guesses or self.num_canaries) // 2
        shuffled = generator.permutation(len(scores))  # so that equal scores are no hint
        order = shuffled[np.argsort(scores[shuffled], kind="stable")]
        correct = int((~present[order[:half]]).sum() + present[order[-half:]].sum())
        low = guesses_epsilon(self.num_canaries, 2 * half, correct, delta, self.beta)
        return Audited(low, None, 1 - self.beta, {"guesses": float(2 * half), "correct": float(correct)})
