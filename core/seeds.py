"""The only source of randomness: counter-based streams keyed by what they are for.

Source: Salmon, Moraes, Dror, Shaw. Parallel Random Numbers: As Easy as 1, 2, 3. SC 2011 (Philox).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

Streams = Callable[[int], np.random.Generator]
"""From a client id to that client's own stream for one purpose in one round."""

_START = np.zeros(4, dtype=np.uint64)  # where a stream counts from; numpy is slow to make it of the number 0


def generator(seed: int, purpose: str, *ids: int) -> np.random.Generator:
    """Return the stream of one (run seed, purpose, round, client ...).

    Equal arguments give equal streams on any machine and in any process, and different arguments
    give independent ones, so that results depend neither on the number of workers nor on the order
    in which they finish.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for, such as ``"noise"``.
        *ids: Whatever tells two uses of a purpose apart: usually the round, then the client.
    """
    key = "/".join([str(int(seed)), purpose, *(str(int(i)) for i in ids)])
    digest = blake2b(key.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(_Key(digest), counter=_START))


class _Key(np.random.SeedSequence):
    """Philox's key as it is: ``Philox(key=...)`` gives the same stream, but asks the system for entropy."""

    def __init__(self, digest: bytes) -> None:
        self._words = np.frombuffer(digest, dtype="<u8")

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> Any:
        return self._words


@contextmanager
def seeded_torch(stream: np.random.Generator) -> Iterator[None]:
    """Let torch draw from ``stream`` inside the block, and leave its global state untouched.

    For what only draws from torch's global state: initial weights and dropout.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    seed = int(stream.integers(2**63))
    with torch.random.fork_rng(devices=devices):
        if devices:
            torch.manual_seed(seed)
        else:  # torch.manual_seed would note down for every kind of device where it was called from
            torch.default_generator.manual_seed(seed)
        yield


def torch_generator(stream: np.random.Generator) -> torch.Generator:
    """Return a generator that draws what torch's global one draws under ``seeded_torch(stream)``."""
    return torch.Generator().manual_seed(int(stream.integers(2**63)))


def normal(stream: np.random.Generator, size: int, std: float) -> torch.Tensor:
    """Return ``size`` draws of N(0, std^2), made in float64 and cast to float32 last.  # [size]"""
    return torch.from_numpy((stream.standard_normal(size) * std).astype(np.float32))
