"""Sentences of different lengths: what a step was made of comes back with its padding, and is proved."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.recit_style import RecitStyle
from gauntlet.attacks.leakage.tag import TAG
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.clients.models.tiny_gpt import Block, TinyGpt
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH, WIDTH = 300, 12, 64
PAD, CLS, SEP = 0, 2, 3
ENDING = {"padding": PAD, "last": SEP}


class LastToken(nn.Module):
    """A decoder whose linear layer answers at every position, of which the last token's answer counts."""

    def __init__(self):
        super().__init__()
        how = TinyGpt(width=WIDTH, blocks=3)
        self.tokens, self.positions = nn.Embedding(TOKENS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks, self.norm = nn.Sequential(*(Block(how) for _ in range(3))), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        every = self.head(self.norm(self.blocks(h)))
        return every[torch.arange(len(x)), (x != PAD).sum(dim=1) - 1]


def made(kind):
    with seeded_torch(generator(0, "weights")):
        bert = TinyBert(width=WIDTH, inner=WIDTH).build((LENGTH,), 2, TOKENS)
        return bert if kind == "encoder" else LastToken()


def sentences(*lengths):
    """Return sentences of so many tokens, the first and the last ones counted.  # [B, S]"""
    x = torch.from_numpy(generator(0, "sentences").integers(5, TOKENS, size=(len(lengths), LENGTH)))
    x[:, 0] = CLS
    for row, length in zip(x, lengths, strict=True):
        row[length - 1], row[length:] = SEP, PAD
    return x


def step(model, x):
    """Return the gradient of a step in float64, and what it was made of."""
    model, y = model.double(), torch.arange(len(x)) % 2
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    update = -torch.cat([g.flatten() for g in gradients])
    knowledge = LeakageKnowledge(batch_size=len(x), local_steps=1)
    seen = Observation(
        0, 0, model, Layout.of(model), b"", update, (LENGTH,), 2, (0.0, TOKENS - 1.0), knowledge,
        kind="gradient", num_tokens=TOKENS,
    )  # fmt: skip
    return seen, Truth(x, y)


def rebuilt(seen, **options):
    return DAGER(**options).reconstruct([seen], generator(0, "attack"))


@pytest.mark.parametrize(
    ("kind", "lengths", "options"),
    [
        ("decoder", (5, 12, 8, 4), ENDING),
        ("decoder", (5, 12, 8, 4), {"padding": PAD}),
        ("encoder", (6,), ENDING),
        ("encoder", (5, 7), ENDING),
        ("encoder", (5, 7), {"padding": PAD}),
    ],
)
def test_sentences_of_different_lengths_are_found_with_their_labels(kind, lengths, options):
    x = sentences(*lengths)
    found = rebuilt(*step(made(kind), x)[:1], **options)
    scores = score(found, Truth(x, torch.arange(len(x)) % 2))

    assert scores.token_accuracy.tolist() == [1.0] * len(x)
    assert scores.label_accuracy == 1
    assert (found.stopped, found.details["found"], found.details["unseen"]) == ("closed_form", len(x), 0)
    assert abs(found.cost) < 1e-12


@pytest.mark.parametrize("attack", [DAGER(**ENDING), RecitStyle(), TAG(max_iterations=2, **ENDING)])
def test_of_a_message_that_is_no_number_nothing_is_rebuilt_and_that_is_said(attack):
    """A client that diverged: no singular value can be taken of what it sends."""
    seen, _ = step(made("encoder"), sentences(5))
    told = replace(seen.knowledge, lr=1.0)
    lost = replace(
        seen, update=torch.full_like(seen.update, torch.nan), knowledge=told, model=made("encoder")
    )
    attack.check(lost)
    found = attack.reconstruct([lost], generator(0, "attack"))

    assert found.stopped in ("nan", "not_identifiable")
    assert found.details.get("found", 0) == 0


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_without_being_told_of_padding_the_attack_proves_nothing(kind):
    seen, _ = step(made(kind), sentences(5, 7))
    found = rebuilt(seen)

    assert found.details["unseen"] == LENGTH - 7
    assert found.stopped == "not_identifiable"


def test_two_short_sentences_that_share_their_padding_are_two():
    """Ten of twelve positions are alike, of which eight are padding: no ground to take one for the other."""
    x = sentences(4, 4)
    found = rebuilt(step(made("decoder"), x)[0], **ENDING)

    assert sorted(map(tuple, found.x.tolist())) == sorted(map(tuple, x.tolist()))
    kept = DAGER(**ENDING)._unlike(torch.cat([x, x[:1]]))
    assert kept.tolist() == x.tolist()


def test_too_many_combinations_of_lengths_are_not_tried():
    seen, _ = step(made("encoder"), sentences(8, 9))
    found = rebuilt(seen, max_candidates=100, **ENDING)

    assert (found.stopped, found.details["tried_all"], found.details["found"]) == ("not_certified", 0, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"padding": -1}, "padding must be a token, at least 0, got -1"),
        ({"last": 3}, "last = 3 needs padding: without it all sentences are as long"),
    ],
)
def test_options_that_say_nothing_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DAGER(**options)
