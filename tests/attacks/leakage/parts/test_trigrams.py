"""Oracles: counts by hand, probabilities that add up to 1, and text that is better foretold than noise."""

from math import log

import pytest
import torch

from gauntlet.attacks.leakage.parts.trigrams import trigrams_of
from gauntlet.core.seeds import generator


def test_counts_are_those_of_a_hand_calculation():
    """Of 0 1 0 1 2 and 0 1 2 2 2: after 0 1 stands 2 twice in three times, after 1 likewise; of 10 tokens 4
    are 2."""
    made = trigrams_of(torch.tensor([[0, 1, 0, 1, 2], [0, 1, 2, 2, 2]]), 4)
    found = made.orders(torch.tensor([0, 1, 2, 3]))

    assert found[2].tolist() == pytest.approx([1 / 4, 4 / 10, 2 / 3, 2 / 3])
    assert found[0].tolist() == pytest.approx([1 / 4, 3 / 10, 1, 1])  # both begin with 0
    assert found[3].tolist() == pytest.approx([1 / 4, 0, 0, 0])


def test_where_two_words_were_never_seen_together_the_last_one_stands_in():
    made = trigrams_of(torch.tensor([[0, 1, 0, 1, 2], [0, 1, 2, 2, 2]]), 4)

    assert made.orders(torch.tensor([3, 1, 2]))[2].tolist() == pytest.approx([1 / 4, 4 / 10, 2 / 3, 2 / 3])


def test_the_probabilities_of_all_next_tokens_add_up_to_1():
    x = torch.from_numpy(generator(0, "text").integers(6, size=(30, 7)))
    made = trigrams_of(x, 6)
    for begin in ([0, 1], [5, 5], [2, 0]):
        every = torch.tensor([[*begin, token] for token in range(6)])
        assert float((-made.nats(every)[:, 2]).exp().sum()) == pytest.approx(1)
    assert float(made.shares.sum()) == pytest.approx(1)


def test_text_of_a_rule_is_foretold_and_its_rearrangement_is_not():
    """In held-out text each token is the one before plus 1, of 8: 0 nats, against log 8 of noise."""
    begin = torch.from_numpy(generator(0, "text").integers(8, size=(50, 1)))
    x = (begin + torch.arange(10)) % 8
    made = trigrams_of(x[:40], 8)
    mixed = x[40:, torch.from_numpy(generator(0, "mixed").permutation(10))]

    assert float(made.nats(x[40:])[:, 1:].mean()) < 0.05
    assert float(made.nats(mixed)[:, 1:].mean()) > log(8)


def test_the_same_text_is_counted_once():
    x = torch.from_numpy(generator(0, "text").integers(6, size=(30, 7)))

    assert trigrams_of(x, 6) is trigrams_of(x.clone(), 6)
    assert trigrams_of(x, 6) is not trigrams_of(x.flip(0), 6)
    with pytest.raises(ValueError, match="two sequences or more, got 1"):
        trigrams_of(x[:1], 6)
