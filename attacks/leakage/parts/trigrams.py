"""How likely a sequence of tokens is, by counts of runs of three, two and one in other text.

Source: Jelinek, Mercer. Interpolated Estimation of Markov Source Parameters from Sparse Data. Pattern
Recognition in Practice, 1980: the shares of the orders are those under which held-out text is most likely, by
expectation maximisation. Every tenth sequence is held out, as our choice.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

ROUNDS = 20  # of expectation maximisation
LEAST = 1e-4  # share of each
EVERY = 10  # the sequence that is held out


Counts = tuple[Tensor, Tensor]
"""Numbers, ascending, and how often each was seen, float64."""


@dataclass(frozen=True, eq=False)
class Trigrams:
    """A language model of V tokens.

    Attributes:
        tokens: V.
        runs: Of each length 1, 2 and 3, the runs that were seen, as numbers in base V + 1.
        contexts: What these runs begin with, all but their last token, and how often it was followed.
        shares: Of the uniform distribution, and of the counts of each length; they add up to 1.  # [4]
    """

    tokens: int
    runs: tuple[Counts, ...]
    contexts: tuple[Counts, ...]
    shares: Tensor

    def nats(self, x: Tensor) -> Tensor:
        """Return -log p of each token given the two before it, of which the first has none.  # [..., S]"""
        return -(self.orders(x) @ self.shares).log()

    def orders(self, x: Tensor) -> Tensor:
        """Return each token's probability by the uniform distribution and by counts of each length.

        Where what comes before was not seen at that length, the shorter one stands in.  # [..., S, 4]
        """
        found = [torch.full(x.shape, 1 / self.tokens, dtype=torch.float64)]
        for numbers, run, context in zip(_numbered(x, self.tokens), self.runs, self.contexts, strict=True):
            often = _looked_up(context, numbers.div(self.tokens + 1, rounding_mode="floor"))
            seen = _looked_up(run, numbers) / often.clamp(min=1)
            found.append(torch.where(often > 0, seen, found[-1]))
        return torch.stack(found, dim=-1)


def trigrams_of(x: Tensor, tokens: int) -> Trigrams:
    """Return the model of sequences x [A, S] of tokens; one of the same content is made once in a process.

    Raises:
        ValueError: There are fewer than two sequences.
    """
    if len(x) < 2:
        raise ValueError(f"a language model needs two sequences or more, got {len(x)}")
    content = x.to(torch.int64).contiguous()
    return _made(content.numpy().tobytes(), x.shape[1], tokens)


@lru_cache(maxsize=4)
def _made(content: bytes, length: int, tokens: int) -> Trigrams:
    x = torch.frombuffer(bytearray(content), dtype=torch.int64).reshape(-1, length)
    held = torch.arange(len(x)) % EVERY == min(EVERY, len(x)) - 1
    some = _counted(x[~held], tokens, torch.full((4,), 0.25, dtype=torch.float64))
    orders, shares = some.orders(x[held]).flatten(0, -2), some.shares  # [n, 4]
    for _ in range(ROUNDS):
        weighed = orders * shares
        shares = (weighed / weighed.sum(dim=1, keepdim=True)).mean(dim=0)
    shares = shares.clamp(min=LEAST)  # what was never seen has some probability
    return _counted(x, tokens, shares / shares.sum())


def _counted(x: Tensor, tokens: int, shares: Tensor) -> Trigrams:
    runs = tuple(_tallied(numbers.flatten()) for numbers in _numbered(x, tokens))
    before = [numbers.flatten().div(tokens + 1, rounding_mode="floor") for numbers in _numbered(x, tokens)]
    return Trigrams(tokens, runs, tuple(map(_tallied, before)), shares)


def _tallied(numbers: Tensor) -> Counts:
    keys, counts = torch.unique(numbers, return_counts=True)
    return keys, counts.double()


def _looked_up(table: Counts, numbers: Tensor) -> Tensor:
    """Return how often numbers were seen, float64."""
    keys, counts = table
    place = torch.searchsorted(keys, numbers.contiguous()).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == numbers, counts[place], 0.0)


def _numbered(x: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the run of 1, 2 and 3 tokens that ends at each place, as a number.  # [..., S] each"""
    before, base = functional.pad(x, (2, 0), value=tokens), tokens + 1
    first, second = before[..., :-2], before[..., 1:-1]
    return x, second * base + x, (first * base + second) * base + x
