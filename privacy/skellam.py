"""The Skellam mechanism: integer noise shares under ideal secure aggregation.

Source: Agarwal, Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning. NeurIPS
2021, Theorem 3.5 and Algorithm 1, arXiv:2110.04995.
"""

from dataclasses import dataclass
from math import exp
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams
from ..core.trees import State
from ..core.updates import Updates
from .clippings.parts import clip_rows, finite_or_zero
from .parts.budget import check_budget, check_shares, known_multiplier
from .parts.integer_shares import NO_SUM, counted_on, lattice_of, needed_shares, summed
from .parts.lattice import Lattice, Noise


@dataclass(frozen=True)
class Skellam:
    """Let every client add a Skellam share of the noise, and the server see the sum modulo 2^b alone.

    A share is the difference of two Poisson draws; sums of shares are Skellam again. The guarantee holds
    against the server too, as long as enough honest clients' shares reach the sum, and whatever is done to
    the sum. Defenses and attacks that need single updates cannot be used: nobody has them.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0.
        noise_multiplier: Standard deviation of the noise on the sum of as many clients as are counted on,
            over ``clip_norm`` (z), at least 0. 0 clips and rounds only, and proves nothing. None where it
            follows from ``epsilon``.
        epsilon: What the whole run may cost, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1.
        relation: What neighbours differ in: a client whose update is zero or not, and who adds its share of
            noise all the same (``zero_out``), or who is exchanged for another (``replace_one``). That a
            client stays away is not hidden: its share is missing, and the size of the noise tells so.
        bits: Bits a coordinate of a message (b), 2 to 40: sums are taken modulo 2^b.
        beta: Bound on the probability that one rounding exceeds the norm's bound and is tried again, at
            least 0 and below 1.
        k_stddevs: How many standard deviations of a coordinate of the sum fit into 2^b (k), above 0.
        rotate: Whether clients rotate their updates at random, so that no coordinate stands out.
        max_dropouts: Clients of an expected cohort that may be missing (or hostile) without the noise
            becoming too little, at least 0: the others' shares are larger.
        num_parameters: P; None for the run's model's.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    relation: Literal["zero_out", "replace_one"] = "zero_out"
    bits: int = 16
    beta: float = exp(-0.5)
    k_stddevs: float = 3.0
    rotate: bool = True
    max_dropouts: int = 0
    num_parameters: int | None = None

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "distributed"
    noise_law: ClassVar[str] = "skellam"

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        check_shares(self.relation, self.bits, self.beta, self.k_stddevs, self.max_dropouts)

    def init(self) -> State:
        """Return the last sum's honest shares and its dimension: none yet."""
        return dict(NO_SUM)

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip; the integer steps that follow on a real client are part of ``secure_sum`` here.

        An update with NaN or infinity counts as zero: whoever sends one adds a share of noise all the same.
        """
        return updates.with_vectors(clip_rows(finite_or_zero(updates.vectors), self.clip_norm))

    def clip(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Let everything in: a server that sees only the sum cannot clip."""
        return updates, state

    def secure_sum(
        self, updates: Updates, honest: Tensor, state: State, public: np.random.Generator, streams: Streams
    ) -> tuple[Updates, State]:
        """Return the clients' sum as one row, as the server decodes it, and count the shares of noise."""
        lattice = lattice_of(self, updates.expected_size, updates.vectors.shape[1])
        return summed(lattice, self._share(lattice), updates, honest, public, streams)

    def least_shares(self, expected_size: float) -> int:
        """Return how many honest clients' noise is counted on."""
        return needed_shares(self, expected_size)

    def noise(
        self, aggregate: Tensor, expected_size: float, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, State]:
        """Add nothing: the noise is in the sum."""
        return aggregate, state

    def event(self, sensitivity: float | None, expected_size: float, state: State) -> Release | NoGuarantee:
        """Charge the shares that were counted on."""
        lattice = counted_on(self, sensitivity, expected_size, state)
        if isinstance(lattice, NoGuarantee):
            return lattice
        shape = self._shape(lattice, needed_shares(self, expected_size))
        z = known_multiplier(self.noise_multiplier)
        return Release(z, self.relation, False, "skellam", shape)

    def _share(self, lattice: Lattice) -> Noise:
        half = (lattice.scale * lattice.noise_std) ** 2 / 2

        def draw(stream: np.random.Generator, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            return stream.poisson(half, size) - stream.poisson(half, size)

        return draw

    def _shape(self, lattice: Lattice, needed: int) -> tuple[float, ...]:
        """Return (L2, L1 sensitivity, variance of the counted shares), in grid steps."""
        exchanged = 2.0 if self.relation == "replace_one" else 1.0
        variance = needed * (lattice.scale * lattice.noise_std) ** 2
        return exchanged * lattice.l2, exchanged * lattice.l1, variance
