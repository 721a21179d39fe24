"""ROUGE: how much of one sequence of tokens another one repeats, as F-measures.

Source: Lin. ROUGE: A Package for Automatic Evaluation of Summaries. ACL Workshop on Text Summarization 2004,
Sections 2 (ROUGE-N) and 3 (ROUGE-L); beta = 1. Longest common subsequence: Hyyro. Bit-parallel LCS-length
Computation Revisited. AWOCA 2004. Tokens are compared as they are: no stemmer, no stop words.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


def rouge(rebuilt: Tensor, truth: Tensor, framing: Sequence[int] = ()) -> Tensor:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L of each sequence of tokens, between 0 and 1.  # [B, 3]

    Args:
        rebuilt: The sequences that are judged.  # [B, S]
        truth: The ones that they are to repeat.  # [B, S']
        framing: Tokens that are no words, which are left out of both.
    """
    none = frozenset(framing)
    words = ([[t for t in row if t not in none] for row in x.flatten(1).tolist()] for x in (rebuilt, truth))
    pairs = zip(*words, strict=True)
    scores = [[_grams(a, b, 1), _grams(a, b, 2), _common(a, b)] for a, b in pairs]
    return torch.tensor(scores).reshape(-1, 3)


def _grams(rebuilt: Sequence[int], truth: Sequence[int], n: int) -> float:
    """Return ROUGE-n: both sequences' runs of n tokens, as bags."""
    bags = [Counter(tuple(s[i : i + n]) for i in range(len(s) - n + 1)) for s in (rebuilt, truth)]
    return _f_measure((bags[0] & bags[1]).total(), bags[0].total(), bags[1].total())


def _common(rebuilt: Sequence[int], truth: Sequence[int]) -> float:
    """Return ROUGE-L: the longest sequence that is in both, with gaps.

    A bit a place of ``truth`` is 0 where one more token of it fits (Hyyro 2004), so that a long sequence
    takes as many steps as it has tokens.
    """
    places: dict[int, int] = {}
    for j, token in enumerate(truth):
        places[token] = places.get(token, 0) | 1 << j
    whole = (1 << len(truth)) - 1
    free = whole
    for token in rebuilt:
        fits = free & places.get(token, 0)
        free = (free + fits | free - fits) & whole
    return _f_measure(len(truth) - free.bit_count(), len(rebuilt), len(truth))


def _f_measure(both: int, rebuilt: int, truth: int) -> float:
    """Return the harmonic mean of precision and recall; 0 where there is nothing to compare."""
    return 2 * both / (rebuilt + truth) if rebuilt + truth else 0.0
