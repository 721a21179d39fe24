"""How close rebuilt sentences come to the true ones: tokens are right or wrong, and words alone count.

Source: Kuhn. The Hungarian Method for the Assignment Problem. 1955. That pairs are those of the largest
ROUGE-1, and of equal ones those of the most words in their places, is ours; LAMP's authors do the first too
(arXiv:2202.08827, unverified).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .rouge import rouge

_TIE = 1e-6  # of a position's share, in units of ROUGE-1, whose least difference is larger


@dataclass(frozen=True)
class TokenScores:
    """How well each sentence of a batch was rebuilt, in the order of the truth.

    Attributes:
        order: For each true sentence, the rebuilt one matched with it.  # [B]
        accuracy: Of the positions at which either one has a word, the share that is right, between 0 and 1;
            1 where neither has any.  # [B]
        rouge: ROUGE-1, ROUGE-2 and ROUGE-L of their words.  # [B, 3]
        overlap: Precision and recall of their different words.  # [B, 2]
    """

    order: Tensor
    accuracy: Tensor
    rouge: Tensor
    overlap: Tensor


def token_scores(
    rebuilt: Tensor, truth: Tensor, framing: Sequence[int] = (), order: Tensor | None = None
) -> TokenScores:
    """Return the scores of sentences [B, ...].

    Args:
        rebuilt: The ones that are judged.
        truth: The true ones.
        framing: Tokens that are no words: what fills up, begins and ends a sentence.
        order: Which rebuilt one stands beside each true one; by default they are matched.  # [B]

    Raises:
        ValueError: The batches differ in shape.
    """
    order = match_tokens(rebuilt, truth, framing) if order is None else order
    rebuilt, truth = rebuilt[order].flatten(1), truth.flatten(1)
    right = _right(rebuilt, truth, framing)
    return TokenScores(order, right, rouge(rebuilt, truth, framing), token_overlap(rebuilt, truth, framing))


def words_of(tokens: Tensor, framing: Sequence[int]) -> Tensor:
    """Return which tokens are words, bool, of the same shape."""
    return ~torch.isin(tokens, torch.tensor(tuple(framing), dtype=tokens.dtype))


def token_overlap(rebuilt: Tensor, truth: Tensor, framing: Sequence[int] = ()) -> Tensor:
    """Return precision and recall of the different words of each sequence, between 0 and 1.  # [B, 2]

    Of the words that were rebuilt, the share that is in the truth, and the other way round; 0 of none.

    Args:
        rebuilt: The sequences that are judged.  # [B, S]
        truth: The true ones.  # [B, S']
        framing: Tokens that are no words.
    """
    none = set(framing)
    pairs = [(set(a) - none, set(b) - none) for a, b in zip(rebuilt.tolist(), truth.tolist(), strict=True)]
    shares = [[len(a & b) / max(len(a), 1), len(a & b) / max(len(b), 1)] for a, b in pairs]
    return torch.tensor(shares).reshape(-1, 2)


def match_tokens(rebuilt: Tensor, truth: Tensor, framing: Sequence[int] = ()) -> Tensor:
    """Return, for each true sequence, its rebuilt one, so that the sum of ROUGE-1 is largest.  # [B]

    Of equal sums that with the most words in their places: sentences may be of the same words.

    Raises:
        ValueError: The batches differ in shape.
    """
    from scipy.optimize import linear_sum_assignment

    if rebuilt.shape != truth.shape:
        raise ValueError(f"expected a reconstruction of shape {list(truth.shape)}, got {list(rebuilt.shape)}")
    rebuilt, truth = rebuilt.flatten(1), truth.flatten(1)
    bags = _bags(torch.cat([rebuilt, truth]), framing)
    own, true = bags[: len(rebuilt)], bags[len(rebuilt) :]
    gain = []
    for sentence, bag in zip(truth, true, strict=True):
        both = torch.minimum(own, bag).sum(dim=1)  # [B]
        shares = 2 * both / (own.sum(dim=1) + bag.sum()).clamp(min=1)
        gain.append(shares + _TIE * _right(rebuilt, sentence.expand_as(rebuilt), framing))
    return torch.from_numpy(linear_sum_assignment(-torch.stack(gain).numpy())[1])


def _bags(tokens: Tensor, framing: Sequence[int]) -> Tensor:
    """Return how often each sequence [B, S] has each of the U words that there are, float64.  # [B, U]"""
    different, place = torch.unique(tokens, return_inverse=True)
    counts = torch.zeros(len(tokens), len(different), dtype=torch.float64)
    return counts.scatter_add_(1, place, words_of(tokens, framing).double())


def _right(rebuilt: Tensor, truth: Tensor, framing: Sequence[int]) -> Tensor:
    """Return the share of the positions at which either [B, S] has a word that is right.  # [B]"""
    counted = words_of(rebuilt, framing) | words_of(truth, framing)
    right, places = ((rebuilt == truth) & counted).sum(dim=1), counted.sum(dim=1)
    return torch.where(places > 0, right / places.clamp(min=1), 1.0)
