"""Sentences of a few tokens with padding, of two classes: text to be classified that needs no file."""

from dataclasses import dataclass

import numpy as np

from gauntlet.clients.data.base import Dataset
from gauntlet.core.seeds import generator

TOKENS, LENGTH = 12, 8


@dataclass(frozen=True)
class Phrases:
    """Tokens 5 to 8 are words of class 0, 8 to 11 of class 1; 2 begins a sentence, 3 ends it, 0 fills up.

    Attributes:
        per_client: Sentences of each of 6 natural clients.
    """

    per_client: int = 20

    def load(self) -> Dataset:
        stream = generator(0, "phrases")
        count = 6 * self.per_client + 60
        y = stream.integers(0, 2, count)
        x = stream.integers(5, 9, (count, LENGTH)) + 3 * y[:, None]
        last = stream.integers(3, LENGTH, count)  # where a sentence ends
        places = np.arange(LENGTH)
        x[:, 0] = 2
        x[places[None] == last[:, None]] = 3
        x[places[None] > last[:, None]] = 0
        return Dataset(
            name="phrases",
            x=x[:-60].copy(),
            y=y[:-60].copy(),
            test_x=x[-60:].copy(),
            test_y=y[-60:].copy(),
            num_classes=2,
            value_range=(0.0, TOKENS - 1.0),
            groups=np.repeat(np.arange(6), self.per_client),
            num_tokens=TOKENS,
            framing=(0, 2, 3),
        )
