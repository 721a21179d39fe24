"""Clients whose rounds take a time that a law draws anew each time, and no message is lost.

Source: the laws of FLSim's duration models (facebookresearch/FLSim), with their names; a Gaussian's least
duration is 0 here, where FLSim lets it be negative.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ...core.contracts import Delivery

_LAWS = ("constant", "gaussian", "half_normal", "uniform", "exponential", "lognormal")


@dataclass(frozen=True)
class Durations:
    """Draw each client's seconds, alone or per example, from one law; bytes take no time.

    Attributes:
        law: ``"constant"`` m; ``"gaussian"`` max(N(m, s^2), l); ``"half_normal"`` l + |N(0, s^2)|;
            ``"uniform"`` from l to 2 m - l; ``"exponential"`` with mean m; ``"lognormal"`` m exp(N(0, s^2)).
        seconds: m, above 0.
        std: s, at least 0; of a log-normal without a unit, otherwise in seconds.
        least_seconds: l, at least 0; of a uniform law at most m.
        per_example: Whether a duration is that of one example, of which a client has several.
    """

    law: Literal["constant", "gaussian", "half_normal", "uniform", "exponential", "lognormal"] = "constant"
    seconds: float = 1.0
    std: float = 0.0
    least_seconds: float = 0.0
    per_example: bool = False

    blind: ClassVar[bool] = True
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.law not in _LAWS:
            raise ValueError(f"law must be one of {', '.join(_LAWS)}; got '{self.law}'")
        if not 0 < self.seconds < np.inf:
            raise ValueError(f"seconds must be above 0 and finite, got {self.seconds}")
        for name in ("std", "least_seconds"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.law == "uniform" and self.least_seconds > self.seconds:
            raise ValueError(
                f"least_seconds must be at most seconds, {self.seconds}, got {self.least_seconds}"
            )

    @property
    def timed_by(self) -> tuple[str, ...]:
        """What a message's delay depends on."""
        return ("examples",) if self.per_example else ()

    def deliver(
        self,
        examples: np.ndarray[Any, Any],
        bytes_down: int | np.ndarray[Any, Any],
        bytes_up: np.ndarray[Any, Any],
        generator: np.random.Generator,
    ) -> Delivery:
        """Return that all arrived, and after how many virtual seconds."""
        seconds = self._drawn(len(examples), generator)
        if self.per_example:
            seconds = seconds * examples
        return Delivery(np.ones(len(examples), dtype=bool), seconds, float(seconds.max(initial=0.0)))

    def _drawn(self, number: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        m, s, least = self.seconds, self.std, self.least_seconds
        if self.law == "uniform":
            return generator.uniform(least, 2 * m - least, number)
        if self.law == "exponential":
            return generator.exponential(m, number)
        normal = s * generator.standard_normal(number)
        found: np.ndarray[Any, Any] = {
            "constant": np.full(number, m),
            "gaussian": np.maximum(m + normal, least),
            "half_normal": least + np.abs(normal),
            "lognormal": m * np.exp(normal),
        }[self.law]
        return found
