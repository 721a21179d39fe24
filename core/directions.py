"""Random directions that both sides of a message know: what zeroth-order steps go along.

Source: Zelikman, Huang, Liang, Haber, Goodman. Just One Byte (per gradient): A Note on Low-Bandwidth
Decentralized Language Model Finetuning Using Shared Randomness. 2023. arXiv:2306.10015. The finite pool: Qin,
Chen, Qian, Ding, Li, Deng. Federated Full-Parameter Tuning of Billion-Sized Language Models with
Communication Cost under 18 Kilobytes. ICML 2024. arXiv:2312.06353
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .seeds import generator

Array = np.ndarray[Any, Any]
NUMBERS = 2**20
"""How many numbers are drawn at once, of all directions of a message: it decides memory, and no number."""
MOST, LARGEST_POOL = 2**12, 2**16
PURPOSE = "directions"


@dataclass(frozen=True)
class Directions:
    """The directions z_1 .. z_S of one client in one round, each of P independent normals, float32.

    Each has a stream of its own, and is drawn from its first coordinate to its last, on the CPU. So they are
    the same for whoever knows the numbers below, with the same version of numpy.

    Attributes:
        seed: A public seed.
        round: The round, from 0.
        client_id: Whose they are.
        count: S, from 1 to 4096.
        size: P, at least 0.
        pool: From how many directions, the same for all clients and rounds, each client draws S different
            ones in each round, from S to 65,536; None: none is used twice.
    """

    seed: int
    round: int
    client_id: int
    count: int
    size: int
    pool: int | None = None

    def __post_init__(self) -> None:
        check(self.count, self.pool)

    @cached_property
    def keys(self) -> tuple[tuple[int, ...], ...]:
        """What the stream of each direction is keyed by, besides the seed and the purpose."""
        if self.pool is None:
            return tuple((self.round, self.client_id, number) for number in range(self.count))
        words = generator(self.seed, f"{PURPOSE} of a pool", self.round, self.client_id)
        order = np.argsort(words.bit_generator.random_raw(self.pool), kind="stable")
        return tuple((int(number),) for number in order[: self.count])

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield (coordinates, all directions there [S, B]) from the first to the last, each block anew."""
        streams = [generator(self.seed, PURPOSE, *key) for key in self.keys]
        columns = max(1, NUMBERS // self.count)
        for start in range(0, self.size, columns):
            part = slice(start, min(start + columns, self.size))
            length = part.stop - start
            yield part, np.stack([s.standard_normal(length, dtype=np.float32) for s in streams])

    def each(self) -> Iterator[Array]:
        """Yield one direction after the other, whole.  # [P]"""
        for key in self.keys:
            yield generator(self.seed, PURPOSE, *key).standard_normal(self.size, dtype=np.float32)

    def combined(self, factors: Array) -> Array:
        """Return sum_j factors_j z_j, added up in this order in float32, whoever does it.  # [P]

        Args:
            factors: One a direction, finite; cast to float32.  # [S]
        """
        found = np.zeros(self.size, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for part, block in self.blocks():
                for factor, direction in zip(factors.astype(np.float32), block, strict=True):
                    found[part] += factor * direction
        return found

    def products(self, vector: Array) -> tuple[Array, Array]:
        """Return the directions' products with each other [S, S], and with a vector [P], float64.  # [S]"""
        gram, along = np.zeros((self.count, self.count)), np.zeros(self.count)
        for part, block in self.blocks():
            wide = block.astype(np.float64)
            gram += wide @ wide.T
            along += wide @ vector[part].astype(np.float64)
        return gram, along


def nearest(gram: Array, along: Array) -> Array:
    """Return the factors of the combination that is nearest to a vector, from its products.  # [S]

    Where directions depend on one another, the shortest factors.
    """
    found: Array = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ along
    return found


def check(count: int, pool: int | None) -> None:
    """Raise ``ValueError`` unless so many directions can be drawn from such a pool."""
    if not 1 <= count <= MOST:
        raise ValueError(f"scalars_per_round must be from 1 to {MOST}, got {count}")
    if pool is not None and not count <= pool <= LARGEST_POOL:
        raise ValueError(
            f"seed_pool must be from scalars_per_round, {count}, to {LARGEST_POOL}, or left out; got {pool}"
        )
