"""Central differential privacy for clients: clip every update, add Gaussian noise to their mean.

Source: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
ICLR 2018, Algorithm 1 with the fixed-denominator estimator. arXiv:1710.06963
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams, normal
from ..core.updates import Updates
from .budget import check_budget, known_multiplier
from .clipping import clip_finite_rows, clip_rows


@dataclass(frozen=True)
class Gaussian:
    """Clip on both sides, and let a trusted server noise the mean of the clipped updates.

    The noise on the sum has standard deviation z * C; on the mean it is divided by the public, expected
    cohort size, never by the number of clients that came. The guarantee holds against whoever sees the
    released models, not against the server.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0.
        noise_multiplier: Noise standard deviation over ``clip_norm`` (z), at least 0. 0 clips only, and
            proves nothing. None where it follows from ``epsilon``.
        epsilon: What the whole run may cost, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1; should be below 1 over the number
            of clients.
        relation: What neighbours differ in: a client that is there or not (``add_remove``), whose update
            is zero or not (``zero_out``), or who is exchanged for another (``replace_one``).
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    relation: Literal["add_remove", "zero_out", "replace_one"] = "add_remove"

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"
    settled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        allowed = ("add_remove", "zero_out", "replace_one")
        if self.relation not in allowed:
            raise ValueError(f"relation must be one of {', '.join(allowed)}, got {self.relation!r}")

    def init(self) -> None:
        return None

    def noise_std(self, expected_size: float) -> float:
        """Return the standard deviation of the noise on the mean, in the update's units."""
        return known_multiplier(self.noise_multiplier) * self.clip_norm / expected_size

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip; a row with NaN or infinity stays, so that the server's finite check finds it."""
        return updates.with_vectors(clip_finite_rows(updates.vectors, self.clip_norm))

    def clip(self, updates: Updates, state: None) -> tuple[Updates, None]:
        """Clip again what came. Raises ``ValueError`` on rows that are not finite."""
        return updates.with_vectors(clip_rows(updates.vectors, self.clip_norm)), state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, None]:
        std = self.noise_std(expected_size)
        if std == 0:
            return aggregate, state
        return aggregate + normal(generator, len(aggregate), std).to(aggregate.device), state

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> Release | NoGuarantee:
        """Charge the noise that was added over the sensitivity that the defense really has."""
        std = self.noise_std(expected_size)
        if std == 0:
            return NoGuarantee("no_mechanism")
        if sensitivity is None or not (isfinite(sensitivity) and sensitivity > 0):
            return NoGuarantee("aggregator")
        z = known_multiplier(self.noise_multiplier)
        return Release(z * (self.clip_norm / expected_size / sensitivity), self.relation)
