"""Oracles: what a step was made of, and the tables of which payload, batch and depth give it back.

The stand-in is a pre-LN decoder with one matrix for queries, keys and values, of width 128, as in the
specification's additions, section C.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.attacks.leakage.parts.attention_inputs import attention_inputs
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH, WIDTH, HEADS = 1000, 12, 128, 4


class Block(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal, self.norm_1, self.norm_2 = causal, nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, h):
        parts = self.qkv(self.norm_1(h)).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        h = h + self.out(seen.transpose(1, 2).flatten(2))
        return h + self.down(functional.gelu(self.up(self.norm_2(h))))


class Classifier(nn.Module):
    """Two classes, from the last position; with ``causal`` false an encoder."""

    def __init__(self, blocks=3, causal=True):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(TOKENS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*(Block(causal) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x):
        h = self.blocks(self.tokens(x) + self.positions(torch.arange(x.shape[1])))
        return self.head(self.norm(h)[:, -1])


def step(model, x, y, payload="update32"):
    """Return what a client sends after one step on (x, y): ``gradient64``, ``gradient32``, or an update."""
    model = model.double() if payload == "gradient64" else model.float()
    layout, own = Layout.of(model), [p for p in model.parameters() if p.requires_grad]
    loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)])
    before = layout.flatten(dict(model.named_parameters())).detach()
    update = (before - 0.1 * gradient) - before if payload == "update32" else -gradient
    knowledge = LeakageKnowledge(batch_size=len(x), local_steps=1)
    kind = "update" if payload == "update32" else "gradient"
    return Observation(
        0, 0, model, layout, b"", update, tuple(x.shape[1:]), int(model(x).shape[-1]), (0.0, TOKENS - 1.0),
        knowledge, kind=kind, num_tokens=TOKENS, label_shape=tuple(y.shape[1:]),
    )  # fmt: skip


def sentences(size, seed=0, tokens=TOKENS, length=LENGTH):
    return torch.from_numpy(generator(seed, "sentences").integers(tokens, size=(size, length)))


def classified(size, payload="update32", seed=0, **shape):
    with seeded_torch(generator(seed, "weights")):
        model = Classifier(**shape)
    x, y = sentences(size, seed), torch.arange(size) % 2
    return step(model, x, y, payload), Truth(x, y)


def rebuilt(seen):
    return DAGER().reconstruct([seen], generator(0, "attack"))


def false_ones(found, truth):
    """Return how many of the sentences that are said to be found were not in the batch."""
    true = {tuple(row) for row in truth.x.tolist()}
    return sum(tuple(row) not in true for row in found.x[: int(found.details["found"])].tolist())


@pytest.mark.parametrize("payload", ["gradient64", "gradient32", "update32"])
@pytest.mark.parametrize("size", [1, 4, 8])
def test_every_sentence_of_a_step_is_found_with_its_label(payload, size):
    """Eight sentences are 96 tokens of 128 dimensions; the ranks are the numbers of tokens."""
    seen, truth = classified(size, payload)
    found = rebuilt(seen)
    scores = score(found, truth)

    assert scores.token_accuracy.tolist() == [1.0] * size
    assert scores.label_accuracy == 1
    assert (found.stopped, false_ones(found, truth)) == ("closed_form", 0)
    assert found.details["rank"] == found.details["rank_2"] == 12 * size
    assert found.cost < 1e-9


def test_more_tokens_than_dimensions_are_said_to_be_no_matter_of_finding():
    """Sixteen sentences are 192 tokens: every token lies in the span, and none is named."""
    seen, _ = classified(16, "gradient64")
    found = rebuilt(seen)

    assert found.stopped == "not_identifiable"
    assert found.details["found"] == 0
    assert found.details["candidates"] == TOKENS
    assert not found.x.any()


def test_more_sentences_than_dimensions_are_not_searched_though_the_first_layer_has_room():
    """Of 4 words at 40 places there are 43 dimensions; of 4 sentences 160 inputs to the second layer."""
    x = sentences(4, tokens=4, length=40)
    found = rebuilt(step(_gpt(length=40), x, sentences(4, seed=1, length=40), "gradient64"))

    assert found.details["rank"] <= 43
    assert (found.stopped, found.details["found"], found.details["rank_2"]) == ("not_identifiable", 0, 127)


def test_two_blocks_before_a_last_token_loss_leave_bags_and_no_sentence():
    """The second layer has one query: rank at most B (2 h + 1), 36 of 48. No word stands at two positions, so
    that the tokens by position are right."""
    x = torch.from_numpy(generator(0, "words").permutation(TOKENS)[:48]).reshape(4, LENGTH)
    with seeded_torch(generator(0, "weights")):
        model = Classifier(blocks=2)
    found, truth = rebuilt(step(model, x, torch.arange(4) % 2, "gradient64")), Truth(x, x)

    assert found.stopped == "not_identifiable"
    assert (found.details["rank"], found.details["rank_2"], found.details["found"]) == (48, 36, 0)
    assert all(set(a) == set(b) for a, b in zip(found.x.T.tolist(), truth.x.T.tolist(), strict=True))


def test_one_word_at_two_positions_lets_false_tokens_pass_the_first_layer_alone():
    """The words at both pass at both (2 x 7 false pairs, specification 7.4): the second layer tells them."""
    x = sentences(8, length=8)
    x[0, 2] = x[1, 5] = 7
    y = sentences(8, seed=1, length=8)
    found = rebuilt(step(_gpt(), x, y, "gradient64"))

    assert found.details["candidates"] >= 8 + 14 / 8
    assert (score(found, Truth(x, y)).token_accuracy == 1).all()
    assert (found.stopped, false_ones(found, Truth(x, y))) == ("closed_form", 0)


def _gpt(length=8, blocks=2):
    with seeded_torch(generator(0, "weights")):
        return TinyGpt(width=WIDTH, blocks=blocks).build((length,), TOKENS)


def test_sentences_that_begin_alike_have_each_its_label():
    """Next tokens as labels, of two prefixes that are the same: their two labels lie in one sum."""
    text = sentences(3, length=9)
    text[1, :4] = text[0, :4]
    x, y = text[:, :-1], text[:, 1:]
    found = rebuilt(step(_gpt(), x, y))

    order = score(found, Truth(x, y)).order
    assert found.stopped == "closed_form"
    assert torch.equal(found.x[order], x)
    assert torch.equal(found.y[order], y)


def test_labels_of_sentences_that_begin_alike_are_all_found_though_not_whose_they_are():
    """Of equal prefixes a sum of two labels comes back; here they are no next tokens, which would tell."""
    x, y = sentences(2, length=8), sentences(2, seed=1, length=8)
    x[1, :4] = x[0, :4]
    found = rebuilt(step(_gpt(), x, y))

    assert found.stopped == "closed_form"
    assert score(found, Truth(x, y)).label_accuracy == 1


class Unasked(nn.Module):
    """A model without an answer at the last position."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[:, :-1]


def test_a_last_token_that_no_loss_looks_at_is_said_to_be_unseen():
    x, y = sentences(2, length=8), sentences(2, seed=1, length=7)
    found = rebuilt(step(Unasked(_gpt()), x, y))
    order = score(found, Truth(x, x)).order

    assert (found.stopped, found.details["unseen"], found.details["found"]) == ("not_identifiable", 1, 2)
    assert torch.equal(found.x[order][:, :-1], x[:, :-1])


def test_the_queries_of_a_causal_model_do_not_show_the_first_token():
    """Its attention is on itself, whatever the query: with keys and values frozen there is no beginning."""
    model = _gpt()
    for block in model.blocks:
        for frozen in (block.key, block.value):
            frozen.requires_grad_(False)
    found = rebuilt(step(model, sentences(2, length=8), sentences(2, seed=1, length=8), "gradient64"))

    assert (found.stopped, found.details["unseen"], found.details["found"]) == ("not_identifiable", 1, 0)


def test_an_encoder_is_searched_by_combinations_and_says_so_where_they_are_too_many():
    seen, truth = classified(2, causal=False)
    found = rebuilt(seen)
    short = DAGER(max_candidates=100).reconstruct([seen], generator(0, "attack"))

    assert (score(found, truth).token_accuracy == 1).all()
    assert (found.stopped, false_ones(found, truth)) == ("closed_form", 0)
    assert (short.stopped, short.details["tried_all"], short.details["found"]) == ("not_certified", 0, 0)


def test_noise_leaves_no_false_sentence():
    """Noise of a tenth of the update's own length fills every direction."""
    seen, _ = classified(4)
    noise = torch.randn(len(seen.update), generator=torch.Generator().manual_seed(0))
    noise *= 0.1 * seen.update.norm() / noise.norm()
    found = rebuilt(replace(seen, update=seen.update + noise))

    assert found.details["found"] == 0
    assert found.stopped == "not_identifiable"


def test_a_model_without_two_attentions_is_refused():
    seen = step(_gpt(blocks=1), sentences(1, length=8), sentences(1, length=8))
    with pytest.raises(PluginError, match=r"two blocks or more .* the model has 1 attention of that kind"):
        refuse_unmet(DAGER(), seen)
    with pytest.raises(ValueError, match="max_candidates must be at least 1, got 0"):
        DAGER(max_candidates=0)


def test_a_first_attention_that_is_frozen_is_refused():
    model = _gpt()
    for layer in (model.blocks[0].query, model.blocks[0].key, model.blocks[0].value):
        layer.requires_grad_(False)
    with pytest.raises(PluginError, match=r"blocks\.0\.value, and none of them is trained"):
        refuse_unmet(DAGER(), step(model, sentences(1, length=8), sentences(1, length=8)))


def test_the_layers_that_read_one_tensor_are_found_by_what_they_are_handed():
    names = attention_inputs(_gpt(), torch.zeros(1, 8, dtype=torch.int64))

    assert names == [tuple(f"blocks.{i}.{kind}" for kind in ("query", "key", "value")) for i in range(2)]
