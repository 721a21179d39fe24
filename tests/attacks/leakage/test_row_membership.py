"""Oracles: ranks of rows by hand, and what a step on known sentences moved."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gauntlet.attacks.leakage.parts.ranking import auc
from gauntlet.attacks.leakage.row_membership import RowMembership
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH, SIZE = 60, 6, 8


def sentences(count, seed=0):
    """Return sequences of words 1 to 59; small numbers are frequent."""
    drawn = generator(seed, "sentences").random((count, LENGTH + 1)) ** 2
    return torch.from_numpy((1 + drawn * (TOKENS - 1)).astype("int64"))


def seen(rows, others, noise=0.0, steps=1, tied=False):
    """Return what a client sends that trained on rows, asked about them and the others."""
    with seeded_torch(generator(0, "weights")):
        model = TinyGpt(width=16, blocks=1).build((LENGTH,), TOKENS)
    if tied:
        model.head.weight = model.tokens.weight
    layout, own = Layout.of(model), list(model.parameters())
    before = [p.detach().clone() for p in own]
    for _ in range(steps):
        loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        for p, g in zip(own, torch.autograd.grad(loss, own), strict=True):
            p.data -= g
    update = torch.cat([(p.detach() - b).flatten() for p, b in zip(own, before, strict=True)])
    for p, b in zip(own, before, strict=True):
        p.data.copy_(b)
    update = update + noise * torch.from_numpy(generator(0, "noise").standard_normal(len(update))).float()
    x = torch.cat([rows, others])[:, :-1]
    known = LeakageKnowledge(candidates=Records(x, torch.zeros(len(x), LENGTH, dtype=torch.int64)))
    return Observation(
        0, 0, model, layout, b"", update, (LENGTH,), TOKENS, (0.0, TOKENS - 1.0), known, num_tokens=TOKENS,
        label_shape=(LENGTH,),
    )  # fmt: skip


def test_ranks_are_those_of_a_hand_calculation():
    """Rows of tokens 3 and 7 moved by 1 and 2, the other 58 not at all: 29/60, 58.5/60 and 59.5/60."""
    message = seen(sentences(1), sentences(1, 1))
    update = torch.zeros_like(message.update)
    view = message.layout.views(update)["tokens.weight"]
    view[3, 0], view[7, 1] = 1.0, 2.0
    x = torch.tensor([[3, 7, 3, 7, 3, 3], [3, 7, 7, 7, 7, 1]])
    known = replace(message.knowledge, candidates=Records(x, x))
    message = replace(message, update=update, knowledge=known)

    assert RowMembership().infer([message])[0].tolist() == pytest.approx([58.5 / 60, 29 / 60])
    means = [(58.5 + 59.5) / 120, (29 + 58.5 + 59.5) / 180]
    assert RowMembership("mean").infer([message])[0].tolist() == pytest.approx(means)
    assert RowMembership(words_from=4).infer([message])[0].tolist() == pytest.approx([59.5 / 60] * 2)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_sentence_with_a_word_that_was_not_there_scores_below_every_member(steps):
    """Exact, after several steps too: who has no other words scores as members do."""
    rows, others = sentences(SIZE), sentences(200, 1)
    scores = RowMembership().infer([seen(rows, others, steps=steps)])[0]
    words = set(rows[:, :-1].flatten().tolist())
    covered = torch.tensor([set(row) <= words for row in others[:, :-1].tolist()])

    assert 0 < int(covered.sum()) < len(others)
    assert scores[SIZE:][~covered].max() < scores[:SIZE].min()
    assert scores[SIZE:][~covered].unique().numel() == 1  # ruled out, all alike
    assert scores[SIZE:][covered].min() > scores[SIZE:][~covered].max()


def test_under_noise_the_mean_tells_more_than_the_least_and_chance_is_left_where_rows_are_noise():
    rows, others = sentences(SIZE), sentences(200, 1)

    def area(statistic, noise, tied=False):
        scores = RowMembership(statistic).infer([seen(rows, others, noise, tied=tied)])[0]
        return auc(scores[:SIZE], scores[SIZE:])

    assert area("least", 0.0) > 0.95
    assert area("mean", 3e-3) > 0.7
    assert abs(area("mean", 1e3) - 0.5) < 0.2
    assert area("least", 0.0, tied=True) > 0.6


def test_frozen_embeddings_and_other_candidates_are_refused():
    message = seen(sentences(1), sentences(1, 1))
    x = torch.zeros(2, LENGTH + 1, dtype=torch.int64)
    other = replace(message, knowledge=replace(message.knowledge, candidates=Records(x, x)))
    with pytest.raises(PluginError, match=r"candidates of shape \[6\], got \[7\]"):
        RowMembership().infer([other])
    frozen = TinyBert(width=16, frozen_embeddings=True).build((LENGTH,), 2, TOKENS)
    layout = Layout.of(frozen)
    other = replace(
        message, model=frozen, layout=layout, update=layout.flatten(dict(frozen.named_parameters()))
    )
    with pytest.raises(
        PluginError, match="reads the gradient of the words' embedding, and tokens is not trained"
    ):
        RowMembership().infer([other])


def test_a_member_of_whose_words_one_was_zeroed_is_ruled_out_and_no_other_is_ruled_in():
    """As pruning may send it: the word says nothing, as one that was not there."""
    rows, others = sentences(1), sentences(40, 1)
    message = seen(rows, others)
    update = message.update.clone()
    message.layout.views(update)["tokens.weight"][rows[0, 0]] = 0.0
    scores = RowMembership().infer([replace(message, update=update)])[0]

    assert scores[0] == scores.min() < RowMembership().infer([message])[0, 0]


def test_no_word_at_all_is_refused():
    with pytest.raises(PluginError, match="words_from = 60 leaves no word of 60 tokens"):
        RowMembership(words_from=TOKENS).check(seen(sentences(1), sentences(1, 1)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"statistic": "most"}, "statistic must be one of least, mean, got 'most'"),
        ({"words_from": -1}, "got -1"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        RowMembership(**options)
