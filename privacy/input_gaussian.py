"""Input perturbation: noise the records once, before anything is trained on them.

Source: Arcolezi, Couchot, Renaud, Al Bouna, Xiao. Differentially Private Multivariate Time Series Forecasting
of Aggregated Human Mobility with Deep Learning: Input or Gradient Perturbation? Neural Computing and
Applications 34, 2022, Section 3. arXiv:2205.00436; the noise for an epsilon is that of Dwork, Roth. The
Algorithmic Foundations of Differential Privacy. 2014, Theorem A.1.
"""

from dataclasses import dataclass
from math import isfinite, log, sqrt
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..core.contracts import Release
from ..core.seeds import Streams
from ..core.updates import Updates

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class InputGaussian:
    """Add N(0, noise_std^2) to every cell of the training records, rounded, and publish the result.

    What is trained on it is post-processing, however often: a run costs one release, charged in its first
    round. The cost holds for one cell, that is for one person in one region in one half hour; a person who
    stays for k half hours loses as much as k cells together.

    Attributes:
        delta: The probability that epsilon may fail, between 0 and 1.
        epsilon: What one cell may cost, above 0 and at most 1, instead of ``noise_std``. The noise is the
            source's, sensitivity sqrt(2 ln(1.25 / delta)) / epsilon: more than the exact analysis asks for,
            which is what the run is charged by.
        noise_std: Standard deviation of the noise in units of a cell, above 0.
        sensitivity: By how much, in L2 norm, one person moves what is counted as one release, above 0: 1 for
            a cell, sqrt(6) where one person may be in all six regions of a half hour.
    """

    delta: float
    epsilon: float | None = None
    noise_std: float | None = None
    sensitivity: float = 1.0

    unit: ClassVar[str] = "cell"
    trust_model: ClassVar[str] = "local"
    relation: ClassVar[str] = "add_remove"
    settled: ClassVar[bool] = True
    public: ClassVar[tuple[str, ...]] = ("num_examples",)

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, both excluded, got {self.delta}")
        if (self.epsilon is None) == (self.noise_std is None):
            raise ValueError(f"give epsilon or noise_std, got {self.epsilon} and {self.noise_std}")
        if self.epsilon is not None and not 0 < self.epsilon <= 1:
            raise ValueError(
                f"epsilon must be above 0 and at most 1, beyond which the formula proves nothing, got "
                f"{self.epsilon}; give noise_std instead"
            )
        for name, value in (("noise_std", self.noise_std), ("sensitivity", self.sensitivity)):
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")

    @property
    def std(self) -> float:
        """The noise's standard deviation, in units of a cell."""
        if self.epsilon is None:
            assert self.noise_std is not None
            return self.noise_std
        return self.sensitivity * sqrt(2 * log(1.25 / self.delta)) / self.epsilon

    @property
    def noise_multiplier(self) -> float:
        """The noise's standard deviation over the sensitivity (z)."""
        return self.std / self.sensitivity

    def init(self) -> None:
        return None

    def perturb(self, records: Array, generator: np.random.Generator) -> Array:
        """Return the records with noise, rounded to whole numbers; the same shape and type."""
        noised: Array = np.rint(records + self.std * generator.standard_normal(records.shape))
        return noised.astype(records.dtype)

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        return updates

    def clip(self, updates: Updates, state: None) -> tuple[Updates, None]:
        return updates, state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, None]:
        return aggregate, state

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> Release:
        """Return the one release of the data, whatever is done with the updates."""
        return Release(self.noise_multiplier, self.relation, amplified=False, once=True)
