"""Other orders of a sentence's words, and the one that fits a message and the language best.

Source: Balunovic, Dimitrov, Jovanovic, Vechev. LAMP: Extracting Text from Gradients with Language Model
Priors. NeurIPS 2022, Section 4 (swaps, moved words, moved spans, moved beginnings). arXiv:2202.08827
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ....core.observation import Observation
from ..parts.trigrams import Trigrams, trigrams_of
from .embedded import Embedded
from .engine import Variables

KINDS = 4  # of rearrangements, taken in turn


def rearrangements(words: Tensor, length: int, count: int, stream: np.random.Generator) -> Tensor:
    """Return orders of S places, the first as it is; places that hold no word stay.  # [count, S]

    In turn: two words are exchanged, a word is moved, a run of words is moved, the first words go to the end.

    Args:
        words: The places that hold words.  # [n]
        length: S.
        count: How many orders, at least 1.
        stream: Where they are drawn from.
    """
    orders, size = torch.arange(length).repeat(count, 1), len(words)
    for i in range(1, count if size > 1 else 1):
        orders[i, words] = words[torch.from_numpy(_moved(size, (i - 1) % KINDS, stream))]
    return orders


def _moved(size: int, kind: int, stream: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return an order of so many words, at least 2."""
    order = np.arange(size)
    if kind == 0:
        a, b = stream.choice(size, 2, replace=False)
        order[[a, b]] = order[[b, a]]
        return order
    begin = 0 if kind == 3 else int(stream.integers(size))
    end = begin + 1 if kind == 1 else int(stream.integers(begin + 1, size + 1))
    rest = np.delete(order, slice(begin, end))
    place = len(rest) if kind == 3 else int(stream.integers(len(rest) + 1))
    return np.insert(rest, place, order[begin:end])


@dataclass(frozen=True, eq=False)
class Fluency:
    """How likely sentences are, by a language model.

    Attributes:
        model: The model; None where the attacker has no other text: every sentence is as likely.
        weight: What a nat a word counts beside the matching cost, at least 0.
    """

    model: Trigrams | None
    weight: float

    def cost(self, tokens: Tensor, counted: Tensor) -> Tensor:
        """Return the weighed mean of -log p over the tokens of sentences [..., S] that count [S].  # [...]"""
        if self.model is None or not self.weight:
            return torch.zeros(tokens.shape[:-1])
        nats = self.model.nats(tokens)[..., counted]
        return (self.weight * nats.mean(dim=-1)).float()


def fluency_of(observation: Observation, weight: float) -> Fluency:
    """Return the language model of the records that the attacker has, which nobody trains on."""
    text = observation.knowledge.auxiliary
    known = text is not None and len(text.x) > 1
    return Fluency(
        trigrams_of(text.x, observation.num_tokens) if text is not None and known else None, weight
    )


@dataclass(frozen=True, eq=False)
class Reordering:
    """Puts sentences into the order, of some, in which cost and language model together are least.

    Attributes:
        step: The client's step.
        cost: From vectors and labels [R, ...] to the matching cost.  # [R]
        fluency: The language model.
        candidates: Orders that are tried a sentence, the one that there is among them.
        stream: Where they are drawn from.
        taken: How many sentences were put into another order, of how many looks.  # [2]
    """

    step: Embedded
    cost: Callable[[Variables], Tensor]
    fluency: Fluency
    candidates: int
    stream: np.random.Generator
    taken: list[int] = field(default_factory=lambda: [0, 0])

    def apply(self, variables: Variables) -> None:
        """Reorder the vectors [R, B, S, d] of every restart, in place."""
        for r in range(len(variables[0])):
            for b, row in enumerate(self.step.template):
                orders = rearrangements((row < 0).nonzero()[:, 0], len(row), self.candidates, self.stream)
                best = int(self._costs(variables, r, b, orders).argmin())
                self.taken[0] += best > 0
                self.taken[1] += 1
                variables[0][r, b] = variables[0][r, b, orders[best]]

    def _costs(self, variables: Variables, r: int, b: int, orders: Tensor) -> Tensor:
        """Return what each order of sentence b of restart r costs.  # [k]"""
        x, *others = (v[r].expand(len(orders), *v[r].shape) for v in variables)
        x = x.clone()
        x[:, b] = x[0, b][orders]
        with torch.no_grad():
            costs = self.cost((x, *others))
            words = self.step.tokens(x)[:, b]
        return costs + self.fluency.cost(words, self.step.counted[b])
