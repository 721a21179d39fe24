"""The words of a step, from the rows of their embedding's gradient, and likely sentences made of them.

Source: Gupta, Huang, Zhong, Gao, Li, Chen. Recovering Private Text in Federated Learning of Language Models
(FILM). NeurIPS 2022, Section 4. arXiv:2205.08514 (a bag of words, then beam search of a language model over
it). The gap for tied or noisy rows, and that every word of the bag is used while there is room, are ours.
"""

import torch
from torch import Tensor

from ....core.observation import Observation
from .token_tables import token_table
from .trigrams import Trigrams


def word_bag(observation: Observation, most: int, words_from: int) -> Tensor:
    """Return the words whose rows of the embedding's gradient are not 0, largest first.  # [D]

    Where more than ``most`` rows are not 0, as behind a head that is tied to the embedding or under noise,
    the rows above the largest ratio of two that follow each other, at most ``most``.

    Args:
        observation: One client's step; the embedding must be trained.
        most: How many different words there can be at most, at least 1.
        words_from: The first token that is a word.
    """
    views = observation.layout.views(observation.update.nan_to_num(0.0, 0.0, 0.0).double())
    sizes = views[f"{token_table(observation)}.weight"].norm(dim=1)[words_from:]
    order = sizes.sort(descending=True, stable=True)
    count = int((sizes > 0).sum())
    if count > most:
        ratios = order.values[:most] / order.values[1 : most + 1].clamp(min=1e-300)
        count = int(ratios.argmax()) + 1
    found: Tensor = order.indices[:count] + words_from
    return found


def likely_sentences(bag: Tensor, template: Tensor, model: Trigrams | None, beams: int, count: int) -> Tensor:
    """Return the likeliest sentences of a bag's words, by a beam search from left to right.  # [count, S]

    Each word of the bag is used once at least while there is room, and no pair of words comes twice. Where
    there is no language model, the words stand as they are in the bag, over and over.

    Args:
        bag: The words.  # [D], D at least 1
        template: The tokens that are known, and -1 where a word stands.  # [S]
        model: The language model, or None.
        beams: Beginnings that are kept, at least 1.
        count: How many sentences.
    """
    places = (template < 0).nonzero()[:, 0]
    plain = template.clone()
    plain[places] = bag[torch.arange(len(places)) % len(bag)]
    if model is None:
        return plain.repeat(count, 1)
    found, costs = template[None].clone(), torch.zeros(1, dtype=torch.float64)
    for number, place in enumerate(places.tolist()):
        longer = found.repeat_interleave(len(bag), dim=0)
        longer[:, place] = bag.repeat(len(found))
        nats = model.nats(longer[:, : place + 1].clamp(min=0))[:, place]
        cost = costs.repeat_interleave(len(bag)) + nats
        cost[_breaks(longer[:, places[: number + 1]], bag, len(places) - number - 1)] += 1e3
        kept = cost.argsort(stable=True)[: max(beams, count)]
        found, costs = longer[kept], cost[kept]
    rows = torch.arange(count) % len(found)
    return found[rows]


def _breaks(words: Tensor, bag: Tensor, left: int) -> Tensor:
    """Return which beginnings [k, n] repeat a pair, or a word where others need the room.  # [k]"""
    unused = len(bag) - (words[:, :, None] == bag).any(dim=1).sum(dim=1)  # [k]
    pairs = torch.stack([words[:, :-1], words[:, 1:]], dim=2)  # [k, n - 1, 2]
    twice = (pairs[:, :-1] == pairs[:, -1:]).all(dim=2).any(dim=1) if words.shape[1] > 2 else unused < 0
    new = len(words[0]) - (len(bag) - unused)  # words that stood before
    return (unused > left) & (new > 0) | twice
