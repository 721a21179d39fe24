"""The Laplace mechanism: clip every update in L1 norm, add Laplace noise to their sum on the server.

Source: Dwork, McSherry, Nissim, Smith. Calibrating Noise to Sensitivity in Private Data Analysis. TCC 2006,
Proposition 1.
"""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams
from ..core.updates import Updates
from .clippings.parts import clip_finite_rows_l1, clip_rows_l1
from .parts.budget import check_budget, known_multiplier


@dataclass(frozen=True)
class Laplace:
    """Clip to L1 norm C on both sides, and let a trusted server noise the mean of the clipped updates.

    One round costs epsilon 1 / b at delta 0, which is why small models and few rounds suit it: the noise of
    a coordinate does not grow with their number, but the L1 norm of an update does. The guarantee holds
    against whoever sees the released models, not against the server, and for linear defenses only: others
    bound an L2 norm.

    Attributes:
        clip_norm: C, in units of the update's L1 norm, above 0.
        noise_multiplier: Scale of the noise on the sum over ``clip_norm`` (b), at least 0; its standard
            deviation is sqrt(2) times as large. 0 clips only, and proves nothing. None where it follows from
            ``epsilon``.
        epsilon: What the whole run may cost, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1.
        relation: As for ``gaussian``.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    relation: Literal["add_remove", "zero_out", "replace_one"] = "add_remove"

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"
    noise_law: ClassVar[str] = "laplace"
    norm: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        allowed = ("add_remove", "zero_out", "replace_one")
        if self.relation not in allowed:
            raise ValueError(f"relation must be one of {', '.join(allowed)}, got {self.relation!r}")

    def init(self) -> None:
        return None

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip; a row with NaN or infinity stays, so that the server's finite check finds it."""
        return updates.with_vectors(clip_finite_rows_l1(updates.vectors, self.clip_norm))

    def clip(self, updates: Updates, state: None) -> tuple[Updates, None]:
        """Clip again what came. Raises ``ValueError`` on rows that are not finite."""
        return updates.with_vectors(clip_rows_l1(updates.vectors, self.clip_norm)), state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, None]:
        scale = known_multiplier(self.noise_multiplier) * self.clip_norm / expected_size
        if scale == 0:
            return aggregate, state
        drawn = generator.laplace(0.0, scale, len(aggregate)).astype(np.float32)
        return aggregate + torch.from_numpy(drawn).to(aggregate.device), state

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> Release | NoGuarantee:
        """Charge the noise that was added; ``sensitivity`` is in L1 norm, as that of a linear defense."""
        b = known_multiplier(self.noise_multiplier)
        if b == 0:
            return NoGuarantee("no_mechanism")
        if sensitivity is None or not (isfinite(sensitivity) and sensitivity > 0):
            return NoGuarantee("aggregator")
        scale = b * (self.clip_norm / expected_size / sensitivity)
        exchanged = 2.0 if self.relation == "replace_one" else 1.0
        return Release(sqrt(2) * scale, self.relation, noise="laplace", shape=(scale / exchanged,))
