"""Oracles: the words of the batch, exactly, and a sentence that the language and the gradient agree on."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.film import FILM
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.attacks.leakage.parts.token_labels import misfit, misfit_by_tensor
from gauntlet.attacks.leakage.parts.trigrams import trigrams_of
from gauntlet.attacks.leakage.parts.word_bag import likely_sentences, word_bag
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

WORDS, LENGTH = 40, 6


class Reader(nn.Module):
    """A mean of what was read before; the head may be the embedding."""

    def __init__(self, tied=False):
        super().__init__()
        self.tokens, self.inner = nn.Embedding(WORDS, 16), nn.Linear(16, 16)
        self.places = nn.Parameter(torch.randn(LENGTH, 16))
        self.head = nn.Linear(16, WORDS, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, x):
        h = (self.tokens(x) + self.places).cumsum(dim=1) / torch.arange(1, LENGTH + 1)[:, None]
        return self.head(self.inner(h).tanh())


def step(said, tied=False, frozen=False):
    with seeded_torch(generator(0, "weights")):
        model = Reader(tied)
    model.tokens.weight.requires_grad_(not frozen)
    x, y = said[:, :-1], said[:, 1:]
    loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    own = [p for p in model.parameters() if p.requires_grad]
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)])
    return Observation(
        0, 0, model, Layout.of(model), b"", -gradient, (LENGTH,), WORDS, (0.0, WORDS - 1.0),
        LeakageKnowledge(batch_size=len(x), local_steps=1), kind="gradient", num_tokens=WORDS,
        label_shape=(LENGTH,),
    )  # fmt: skip


def text(size, seed=0):
    return torch.from_numpy(generator(seed, "text").integers(WORDS, size=(size, LENGTH + 1)))


@pytest.mark.parametrize("size", [1, 3])
def test_the_rows_that_are_not_0_are_exactly_the_words_of_the_batch(size):
    said = text(size)
    found = word_bag(step(said), most=size * LENGTH, words_from=0)

    assert sorted(found.tolist()) == sorted(set(said[:, :-1].flatten().tolist()))


def test_behind_a_tied_head_every_row_is_moved_and_the_largest_are_taken():
    """Of 40 rows none is 0; at most 6 are taken, more than half of them the sentence's or its labels."""
    said = text(1)
    found = set(word_bag(step(said, tied=True), most=LENGTH, words_from=0).tolist())

    assert 1 <= len(found) <= LENGTH
    assert len(found & set(said.flatten().tolist())) > len(found) / 2


def test_a_beam_search_makes_the_likeliest_sentence_of_all_words_of_the_bag():
    """In the other text each word is the one before plus 1."""
    model = trigrams_of((torch.arange(20)[:, None] + torch.arange(LENGTH)) % WORDS, WORDS)
    template, bag = torch.tensor([2, -1, -1, -1, -1, 3]), torch.tensor([7, 5, 8, 6])

    assert likely_sentences(bag, template, model, 16, 1).tolist() == [[2, 5, 6, 7, 8, 3]]


def test_a_word_comes_twice_where_the_bag_is_smaller_than_the_sentence_and_a_pair_never():
    model = trigrams_of((torch.arange(20)[:, None] + torch.arange(LENGTH)) % WORDS, WORDS)
    (found,) = likely_sentences(torch.tensor([5, 6, 7]), torch.full((5,), -1), model, 16, 1).tolist()

    assert set(found) == {5, 6, 7}
    assert len(set(pairwise(found))) == 4


@pytest.mark.parametrize("size", [1, 2])
def test_the_sentences_come_back_with_their_labels(size):
    said = text(size, seed=3)
    found = FILM(max_iterations=30 if size == 1 else 3).reconstruct([step(said)], generator(0, "attack"))
    rows = {tuple(row) for row in said[:, :-1].tolist()}

    if size == 1:
        assert (found.stopped, found.x.tolist(), found.y.tolist()) == (
            "converged", said[:, :-1].tolist(), said[:, 1:].tolist()
        )  # fmt: skip
    assert set(found.x.flatten().tolist()) <= {word for row in rows for word in row}
    assert found.cost <= found.trace[0]


def test_tensors_that_are_louder_do_not_drown_those_that_know_the_order():
    """A fresh encoder whose whole gradient has an angle below 1e-6 also with two words exchanged."""
    with seeded_torch(generator(0, "weights")):
        model = TinyBert(width=32, inner=64).build((LENGTH,), 2, WORDS).double()
    said, y = torch.tensor([[2, 7, 8, 9, 11, 3]]), torch.tensor([1])
    own = [p for p in model.parameters() if p.requires_grad]
    gradient = torch.cat(
        [g.flatten() for g in torch.autograd.grad(functional.cross_entropy(model(said), y), own)]
    )
    seen = Observation(
        0, 0, model, Layout.of(model), b"", -gradient, (LENGTH,), 2, (0.0, WORDS - 1.0),
        LeakageKnowledge(batch_size=1, local_steps=1), kind="gradient", num_tokens=WORDS,
    )  # fmt: skip
    wrong = said[:, [0, 2, 1, 3, 4, 5]]
    assert misfit(seen, model, wrong, y) < 1e-6
    assert misfit_by_tensor(seen, model, wrong, y) > 1e-3
    assert misfit_by_tensor(seen, model, said, y) < 1e-12

    found = FILM(max_iterations=20, language_weight=0.0, first=2, last=3, words_from=4).reconstruct(
        [seen], generator(0, "attack")
    )
    assert (found.stopped, found.x.tolist()) == ("converged", said.tolist())


def test_a_message_of_zeros_and_an_embedding_that_is_not_sent_are_said_to_be_so():
    seen = step(text(1))
    object.__setattr__(seen, "update", torch.zeros_like(seen.update))
    assert FILM().reconstruct([seen], generator(0, "attack")).stopped == "not_identifiable"
    with pytest.raises(PluginError, match="words' embedding, and tokens is not trained"):
        refuse_unmet(FILM(), step(text(1), frozen=True))
    with pytest.raises(ValueError, match="beams must be finite and at least 1, got 0"):
        FILM(beams=0)
