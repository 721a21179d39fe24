"""Annealed gradient noise: a training aid whose noise fades. Not differential privacy as it stands.

Source: Neelakantan, Vilnis, Le, Sutskever, Kaiser, Kurach, Martens. Adding Gradient Noise Improves Learning
for Very Deep Networks. 2015, arXiv:1511.06807 (formula as in public code; the grid of eta is unverified).
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams, normal
from ..core.updates import Updates
from .clippings.parts import clip_finite_rows, clip_rows
from .parts.budget import LEAST_CLIP


@dataclass(frozen=True)
class Annealed:
    """Add N(0, sigma_t^2) with sigma_t^2 = eta / (1 + t)^gamma to what the server takes as its gradient.

    t counts the server's steps, that is rounds, over the whole run from 0. Without a bound on the updates
    nothing is proved (``uncalibrated_noise``), however much noise there is: as a defense against leakage it
    is labelled accordingly. With ``calibrated`` it is a Gaussian mechanism whose z_t = sigma_t * m / C falls
    from round to round (m: expected cohort size), and is charged as such.

    Attributes:
        eta: Variance of the noise at t = 0, in squared units of the update, at least 0.
        gamma: How fast it fades, at least 0.
        where: The server noises the mean once a round, or every client (``local``) its own update, after
            clipping it.
        clip_norm: C, in units of the update's L2 norm, above 0, or None for no clipping.
        calibrated: Charge the noise; needs ``clip_norm``, ``delta``, ``where = "server"`` and an ``eta``
            above 0.
        delta: The probability that epsilon may fail, between 0 and 1; with ``calibrated`` only.
    """

    eta: float = 0.01
    gamma: float = 0.55
    where: Literal["server", "local"] = "server"
    clip_norm: float | None = None
    calibrated: bool = False
    delta: float | None = None

    relation: ClassVar[str] = "add_remove"

    def __post_init__(self) -> None:
        for name in ("eta", "gamma"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")
        if self.where not in ("server", "local"):
            raise ValueError(f"where must be server or local, got {self.where!r}")
        if self.clip_norm is not None and not (isfinite(self.clip_norm) and self.clip_norm >= LEAST_CLIP):
            raise ValueError(f"clip_norm must be finite and at least {LEAST_CLIP:g}, got {self.clip_norm}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, both excluded, got {self.delta}")
        complete = None not in (self.clip_norm, self.delta) and self.where == "server" and self.eta > 0
        if self.calibrated and not complete:
            raise ValueError(
                "calibrated needs clip_norm, delta, eta above 0 and where = 'server', got "
                f"clip_norm {self.clip_norm}, delta {self.delta}, eta {self.eta} and where {self.where!r}"
            )

    @property
    def unit(self) -> str:
        """What is protected: clients where the noise is charged, else nothing."""
        return "client" if self.calibrated else "none"

    @property
    def trust_model(self) -> str:
        """Who is trusted: the server where the noise is charged, else nobody proves anything."""
        return "central" if self.calibrated else "none"

    def init(self) -> int:
        """Return how many rounds were noised."""
        return 0

    def noise_std(self, step: int) -> float:
        """Return sigma_t at ``step`` t, in the update's units."""
        return float((self.eta / (1 + step) ** self.gamma) ** 0.5)

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip and, where it is the clients' turn, noise: the round is that of the updates' context."""
        vectors = updates.vectors
        if self.clip_norm is not None:
            vectors = clip_finite_rows(vectors, self.clip_norm)
        if self.where == "server":
            return updates.with_vectors(vectors)
        std = self.noise_std(0 if updates.context is None else updates.context.round)
        messages = vectors.clone()
        for message, client_id in zip(messages, updates.client_ids.tolist(), strict=True):
            message += normal(streams(client_id), len(message), std).to(message.device)
        return updates.with_vectors(messages)

    def clip(self, updates: Updates, state: int) -> tuple[Updates, int]:
        """Clip again what came, unless that would cut into the clients' own noise."""
        if self.clip_norm is None or self.where == "local":
            return updates, state
        return updates.with_vectors(clip_rows(updates.vectors, self.clip_norm)), state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: int, generator: np.random.Generator
    ) -> tuple[Tensor, int]:
        if self.where == "local" or self.eta == 0:
            return aggregate, state + 1
        drawn = normal(generator, len(aggregate), self.noise_std(state))
        return aggregate + drawn.to(aggregate.device), state + 1

    def event(self, sensitivity: float | None, expected_size: float, state: int) -> Release | NoGuarantee:
        """Charge the last round that was noised, if the noise is calibrated."""
        if self.eta == 0:
            return NoGuarantee("no_mechanism")
        if not self.calibrated:
            return NoGuarantee("uncalibrated_noise")
        if sensitivity is None or not (isfinite(sensitivity) and sensitivity > 0):
            return NoGuarantee("aggregator")
        return Release(self.noise_std(max(state, 1) - 1) / sensitivity, self.relation)
