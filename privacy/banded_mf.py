"""DP-FTRL by banded matrix factorisation: noise that takes itself back over the next rounds.

Source: Choquette-Choo, Ganesh, McKenna, McMahan, Rush, Thakurta, Xu. (Amplified) Banded Matrix
Factorization: A Unified Approach to Private Training. NeurIPS 2023, Sections 2 to 4, arXiv:2306.08153
(without its amplification, which is not re-derived here).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams, normal
from ..core.trees import State
from ..core.updates import Updates
from .clippings.parts import clip_finite_rows, clip_rows
from .parts.budget import check_budget, check_participation, known_multiplier
from .parts.factorization import FACTORIZATIONS, banded_rows


@dataclass(frozen=True)
class BandedMF:
    """Add row t of C^-1 Z to round t's mean, Z being fresh noise z * C on the sum and C a banded matrix.

    A trusted server releases, in effect, C G + Z of the rounds' sums G. With columns of norm 1 and the
    rounds of one client at least ``bands`` apart, each of its rounds costs one Gaussian of multiplier z;
    the noise in the sum of all rounds is much less than that of independent draws. Held against whoever
    sees the released models (``zero_out``), without any secrecy of the sample.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0.
        bands: Nonzero diagonals of the matrix (b), at least 1: a round's noise is taken back over the next
            b - 1 rounds, of which as many noise vectors are remembered. 1 is plain Gaussian noise. The
            sampler must promise rounds of one client at least so far apart.
        noise_multiplier: z, at least 0. 0 clips only, and proves nothing. None where it follows from
            ``epsilon``.
        epsilon: What the whole run may cost, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1.
        factorization: ``"optimal"`` for the error of all prefix sums together (seconds for 500 rounds, a
            minute for 1000), or ``"sqrt_toeplitz"``: the square root of the matrix of prefix sums, cut to
            the bands, in closed form.
        rounds: T, rounds that the matrix is made for; None for those of the run.
        max_participations: In how many rounds one client may take part at most; a sampler that does not
            promise it is refused. None: any.
    """

    clip_norm: float
    bands: int
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    factorization: Literal["optimal", "sqrt_toeplitz"] = "optimal"
    rounds: int | None = None
    max_participations: int | None = None

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"
    relation: ClassVar[str] = "zero_out"

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        check_participation(1, self.max_participations)
        if self.bands < 1:
            raise ValueError(f"bands must be at least 1, got {self.bands}")
        if self.factorization not in FACTORIZATIONS:
            allowed = ", ".join(FACTORIZATIONS)
            raise ValueError(f"factorization must be one of {allowed}, got {self.factorization!r}")
        if self.rounds is not None and self.rounds < self.bands:
            raise ValueError(f"bands must be at most the {self.rounds} rounds, got {self.bands}")

    @property
    def min_separation(self) -> int:
        """How many rounds apart two rounds of one client must be at least."""
        return self.bands

    def init(self) -> State:
        """Return the rounds noised so far, and the noise of the last of them, newest last.  # [b - 1, P]"""
        return {"round": 0, "noises": ()}

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip; a row with NaN or infinity stays, so that the server's finite check finds it."""
        return updates.with_vectors(clip_finite_rows(updates.vectors, self.clip_norm))

    def clip(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Clip again what came. Raises ``ValueError`` on rows that are not finite."""
        return updates.with_vectors(clip_rows(updates.vectors, self.clip_norm)), state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, State]:
        """Add y_t = (z_t - sum over j < t of C_tj y_j) / C_tt: forward substitution, one row a round."""
        std = known_multiplier(self.noise_multiplier) * self.clip_norm / expected_size
        if std == 0:
            return aggregate, {"round": state["round"] + 1, "noises": ()}
        *earlier, diagonal = self._mixing(state["round"])
        drawn = normal(generator, len(aggregate), std).double()
        for factor, noise in zip(earlier, state["noises"], strict=True):
            drawn -= factor * noise.double()
        noise = (drawn / diagonal).float()
        kept = (*state["noises"], noise)[-(self.bands - 1) :] if self.bands > 1 else ()
        return aggregate + noise.to(aggregate.device), {"round": state["round"] + 1, "noises": kept}

    def event(self, sensitivity: float | None, expected_size: float, state: State) -> Release | NoGuarantee:
        """Charge the row of the matrix that the last round released."""
        z = known_multiplier(self.noise_multiplier)
        if z == 0:
            return NoGuarantee("no_mechanism")
        if sensitivity is None or not (isfinite(sensitivity) and sensitivity > 0):
            return NoGuarantee("aggregator")
        multiplier = z * (self.clip_norm / expected_size / sensitivity)
        mixing = self._mixing(max(state["round"], 1) - 1)
        return Release(multiplier, self.relation, amplified=False, mixing=mixing)

    def mixings(self, rounds: int) -> Iterator[tuple[float, ...]]:
        """Yield the ``Release.mixing`` of every round."""
        return (self._mixing(t) for t in range(rounds))

    def _mixing(self, round_: int) -> tuple[float, ...]:
        """Return row ``round_`` of the matrix from its first nonzero entry to the diagonal."""
        if self.rounds is None:
            raise ValueError("rounds is not known yet: give it, or let the run fill it in")
        if round_ >= self.rounds:
            raise ValueError(f"the matrix is made for {self.rounds} rounds, got round {round_} (from 0)")
        rows = banded_rows(self.factorization, self.rounds, self.bands)
        return tuple(rows[round_, max(self.bands - 1 - round_, 0) :].tolist())
