"""Clients that are slow in bursts: each has two states, and stays in one for some rounds.

Source: a model of our own, whose defaults are a fit to the delays that were measured for Krishnan, Ebrahimi,
Khisti. Sequential Gradient Coding for Straggler Mitigation. ICLR 2023. arXiv:2211.13802 (network ``trace``):
5 % of them above twice a round's least, in bursts of 1.1 rounds, two or three times as long. The states are
told by coupling from the past: Propp, Wilson. Random Structures and Algorithms 9 (1996).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import Delivery
from ...core.seeds import generator
from .ideal import Ideal

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Bursts:
    """Let a client's round take seconds exp(N(0, jitter^2)), and several times that while it is slow.

    A client's state in a round follows from the run's seed, its id and the round, whoever else takes part;
    rounds are the server's, whether it takes part in them or not. No message is lost.

    Attributes:
        seconds: The median of a client that is not slow, above 0.
        jitter: At least 0.
        slow: The share of rounds in which a client is slow, from 0 to 0.5.
        mean_burst: How many rounds in a row it then is on average, at least 1.
        slow_factors: The least and the most that a slow round is multiplied by, alike in between; at least 1.
        outliers: The share of rounds that take 10 to 100 times as long besides, alike on a logarithmic scale,
            from 0 to 1.
    """

    seconds: float = 0.6
    jitter: float = 0.1
    slow: float = 0.05
    mean_burst: float = 1.1
    slow_factors: tuple[float, float] = (2.0, 3.0)
    outliers: float = 1e-4

    blind: ClassVar[bool] = True
    complete: ClassVar[bool] = True
    timed_by: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not 0 < self.seconds < np.inf:
            raise ValueError(f"seconds must be above 0 and finite, got {self.seconds}")
        if not 0 <= self.jitter < np.inf:
            raise ValueError(f"jitter must be at least 0 and finite, got {self.jitter}")
        if not 0 <= self.slow <= 0.5:
            raise ValueError(f"slow must be from 0 to 0.5, got {self.slow}")
        if not 1 <= self.mean_burst < np.inf:
            raise ValueError(f"mean_burst must be at least 1 and finite, got {self.mean_burst}")
        if len(self.slow_factors) != 2 or not 1 <= self.slow_factors[0] <= self.slow_factors[1] < np.inf:
            raise ValueError(
                f"slow_factors must be two finite numbers of at least 1, ascending, got {self.slow_factors}"
            )
        if not 0 <= self.outliers <= 1:
            raise ValueError(f"outliers must be from 0 to 1, got {self.outliers}")

    def deliver(
        self, examples: Array, bytes_down: int | Array, bytes_up: Array, generator: np.random.Generator
    ) -> Delivery:
        return Ideal().deliver(examples, bytes_down, bytes_up, generator)

    def own_seconds(self, client_ids: Array, round_: int, seed: int) -> Array:
        """Return what clients take who begin in a round, float64.  # [K]"""
        return np.array([self._seconds(i, round_, seed) for i in client_ids.tolist()], dtype=np.float64)

    def is_slow(self, client_id: int, round_: int, seed: int) -> bool:
        """Return a client's state in a round: that of a Markov chain in its stationary law."""
        stays = 1 - 1 / self.mean_burst
        enters = self.slow / self.mean_burst / (1 - self.slow)  # so that the share of slow rounds is ``slow``
        flips = False
        for earlier in range(round_, -1, -1):
            u = generator(seed, "bursts", earlier, client_id).random()
            if not min(stays, enters) <= u < max(stays, enters):
                return bool(u < min(stays, enters)) is not flips  # whatever the state before was
            flips ^= enters > stays
        first = generator(seed, "bursts at first", client_id).random() < self.slow
        return bool(first) is not flips

    def _seconds(self, client_id: int, round_: int, seed: int) -> float:
        chance = generator(seed, "burst seconds", round_, client_id)
        normal, between, odd, far = chance.standard_normal(), *chance.random(3)
        factor = np.exp(self.jitter * normal)
        if self.is_slow(client_id, round_, seed):
            least, most = self.slow_factors
            factor *= least + between * (most - least)
        return float(self.seconds * factor * (10 ** (1 + far) if odd < self.outliers else 1.0))
