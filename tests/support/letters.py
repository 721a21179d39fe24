"""Sequences of a few tokens from clients that each prefer some: text that needs no file."""

from dataclasses import dataclass

import numpy as np

from gauntlet.clients.data.base import Dataset
from gauntlet.core.seeds import generator

TOKENS, LENGTH = 7, 6


@dataclass(frozen=True)
class Letters:
    """A token is followed by itself plus 1 or 2, modulo 7, or in one case of five by any.

    Attributes:
        per_client: Sequences of each of 6 natural clients.
    """

    per_client: int = 20

    def load(self) -> Dataset:
        stream = generator(0, "letters")
        count = 6 * self.per_client + 60
        rows = np.zeros((count, LENGTH + 1), dtype=np.int64)
        rows[:, 0] = stream.integers(0, TOKENS, count)
        for place in range(LENGTH):
            step = np.where(stream.random(count) < 0.3, 2, 1)
            likely = (rows[:, place] + step) % TOKENS
            rows[:, place + 1] = np.where(
                stream.random(count) < 0.2, stream.integers(0, TOKENS, count), likely
            )
        train, test = rows[:-60], rows[-60:]
        return Dataset(
            name="letters",
            x=train[:, :-1].copy(),
            y=train[:, 1:].copy(),
            test_x=test[:, :-1].copy(),
            test_y=test[:, 1:].copy(),
            num_classes=TOKENS,
            value_range=(0.0, TOKENS - 1.0),
            groups=np.repeat(np.arange(6), self.per_client),
            num_tokens=TOKENS,
            task="language_model",
        )
