"""People who do not exist, their telephone numbers, and what is said of them. Forecast the next word.

Source: ours, after the synthetic personal notes of ReCIT, arXiv:2504.20570 (the abstract), of which no
generator is public.
"""

from dataclasses import dataclass

import numpy as np

from ...core.people import LENGTH, NUMBER, TOKENS, drawn, encoded, ordinary, telling
from ...core.seeds import generator
from .base import Array, Dataset


@dataclass(frozen=True)
class People:
    """Sentences of 32 words, digits one by one and 0 filling up, and with each word the one that follows it.

    A natural client is a person. The test set is of as many sentences of 50 others.

    Attributes:
        people: At least 1.
        sentences: Of each person, at least 2; every second one holds the person's number.
        seed: What people and sentences are drawn from, whatever the run's seed is.
    """

    people: int = 200
    sentences: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.people < 1 or self.sentences < 2:
            raise ValueError(
                f"people must be at least 1 and sentences at least 2, got {self.people} and {self.sentences}"
            )

    def load(self) -> Dataset:
        train, test = (self._said(part, count) for part, count in (("train", self.people), ("test", 50)))
        return Dataset(
            name="people",
            x=np.ascontiguousarray(train[:, :-1]),
            y=np.ascontiguousarray(train[:, 1:]),
            test_x=np.ascontiguousarray(test[:, :-1]),
            test_y=np.ascontiguousarray(test[:, 1:]),
            num_classes=len(TOKENS),
            value_range=(0.0, len(TOKENS) - 1.0),
            groups=np.repeat(np.arange(self.people), self.sentences),
            num_tokens=len(TOKENS),
            task="language_model",
            framing=(NUMBER["[END]"],),
        )

    def _said(self, part: str, count: int) -> Array:
        """Return sentences, person after person.  # [count * sentences, 33]"""
        rows = []
        for number in range(count):
            stream = generator(self.seed, f"people {part}", number)
            person = drawn(stream)
            for place in range(self.sentences):
                words = (ordinary if place % 2 else telling)(person, stream)
                rows.append(encoded(words, LENGTH + 1))
        return np.array(rows, dtype=np.int64)
