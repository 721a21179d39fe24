"""Oracles: distances and the threshold by hand, DAGER on the same message, and what a step was made of."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.attacks.leakage.film import FILM
from gauntlet.attacks.leakage.parts.attention_inputs import attention_inputs
from gauntlet.attacks.leakage.search.embedded import SpecialTokens, embedded
from gauntlet.attacks.leakage.search.subspaces import Subspaces, directions, squared_distance, threshold
from gauntlet.attacks.leakage.tiger import TIGER, _distinct
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH = 300, 8


def sent(x, model, y, noise=0.0):
    """Return the gradient that a client sends of sentences [B, S]; noise in units of its root mean square."""
    loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
    update = -torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    drawn = torch.from_numpy(generator(0, "noise").standard_normal(len(update))).float()
    update = update + noise * update.square().mean().sqrt() * drawn
    return Observation(
        0, 0, model, Layout.of(model), b"", update, (LENGTH,), TOKENS if y.ndim > 1 else 2,
        (0.0, TOKENS - 1.0), LeakageKnowledge(len(x), local_steps=1), kind="gradient", num_tokens=TOKENS,
        label_shape=tuple(y.shape[1:]),
    )  # fmt: skip


def encoder(size, seed=0, **options):
    """Return sentences without token 0 and the message of an encoder of three blocks."""
    x = torch.from_numpy(generator(seed, "sentences").integers(1, TOKENS, size=(size, LENGTH)))
    with seeded_torch(generator(seed, "weights")):
        model = TinyBert(width=64, inner=128, blocks=3).build((LENGTH,), 2, TOKENS)
    return x, sent(x, model, torch.arange(size) % 2, **options)


def found(message, x, **options):
    """Return what TIGER made, and how many of the sentences are in it."""
    made = TIGER(words_from=1, **options).reconstruct([message], generator(0, "attack"))
    rows = {tuple(row) for row in made.x.tolist()}
    return made, sum(tuple(row) in rows for row in x.tolist())


def test_the_distance_is_the_share_of_the_squared_length_outside_of_the_span():
    """(3, 4, 0) off the first axis: 16/25; (1, 0, 2): 4/5; nothing of the plane of both."""
    inputs = torch.tensor([[3.0, 4.0, 0.0], [1.0, 0.0, 2.0]])
    axes = torch.eye(3)

    assert squared_distance(inputs, axes[:1]).tolist() == pytest.approx([16 / 25, 4 / 5])
    assert squared_distance(inputs, axes[[0, 1]]).tolist() == pytest.approx([0, 4 / 5])
    assert squared_distance(inputs, axes).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_as_many_directions_are_kept_as_stand_out_of_noise():
    """Gavish and Donoho: 2.858 medians of a square matrix; of rank 5 in noise 5 directions are kept."""
    assert threshold(torch.tensor([3.0, 1.0, 0.5]), (3, 3)) == pytest.approx(2.86)
    message = encoder(1)[1]
    name, stream = "blocks.0.query.weight", generator(0, "matrix")
    low = stream.standard_normal((64, 5)) @ stream.standard_normal((5, 64))
    for noise in (0.0, 0.05, 0.5):
        update = torch.zeros(len(message.update), dtype=torch.float64)
        message.layout.views(update)[name].copy_(
            torch.from_numpy(low + noise * stream.standard_normal((64, 64)))
        )
        kept = directions(replace(message, update=update), ("blocks.0.query",), 64, None)
        assert len(kept) == 5
        right = torch.linalg.svd(torch.from_numpy(low), full_matrices=False)[2][:5].float()
        assert float(squared_distance(right, kept).max()) < 0.05 * noise + 1e-6
    assert len(directions(message, ("blocks.0.query",), 3, None)) == 3
    assert len(directions(message, ("blocks.0.query",), 64, 2)) == 2


def test_j_of_the_truth_is_0_and_of_another_word_it_is_not():
    x, message = encoder(2)
    groups = attention_inputs(message.model, x[:1])[:2]
    spans = [directions(message, layers, 2 * LENGTH, None) for layers in groups]
    template = torch.full((LENGTH,), -1)
    away = Subspaces(message.model, "tokens", [layers[0] for layers in groups], spans, template)
    table = message.model.tokens.weight.detach()
    other = x.clone()
    other[0, 3] = 1 + other[0, 3] % (TOKENS - 1)

    assert [len(span) for span in spans] == [2 * LENGTH] * 2
    assert float(away(table[x]).max()) < 1e-6
    assert float(away(table[other])[0].sum()) > 1e-2
    mixed = x.clone()  # each word was there, at its place
    mixed[0, ::2] = x[1, ::2]
    off = away(table[mixed])[0]
    assert float(off[0]) < 1e-6 < 3e-6 < float(off[1])


@pytest.mark.parametrize("size", [1, 2])
def test_sentences_of_an_encoder_come_back_with_proof(size):
    x, message = encoder(size)
    made, right = found(message, x, max_iterations=100)

    assert right == size
    assert (made.stopped, made.details["rank"]) == ("converged", size * LENGTH)
    assert made.cost < 1e-6


def test_sentences_come_back_that_dager_has_too_many_combinations_for():
    """An encoder's 3^8 combinations of three sentences' words are one more than it may try."""
    x, message = encoder(3)
    made, right = found(message, x, max_iterations=100)
    exact = DAGER(max_candidates=3**LENGTH - 1).reconstruct([message], generator(0, "attack"))

    assert exact.details["found"] == 0
    assert right >= 2
    assert made.details["distance"] < 1e-5


def test_the_logarithm_is_what_tells_sentences_apart():
    """Of J itself the second attention is too small a part: words are right, and sentences are mixed."""
    x, message = encoder(2)

    assert found(message, x, max_iterations=100, logarithm=False)[1] < 2


def test_a_decoders_sentence_comes_back_by_free_vectors_too():
    """One sentence of a language model, with its labels."""
    x = torch.from_numpy(generator(0, "sentences").integers(1, TOKENS, size=(1, LENGTH)))
    with seeded_torch(generator(0, "weights")):
        model = TinyGpt(width=64, blocks=2).build((LENGTH,), TOKENS)
    message = sent(x, model, x.roll(-1, dims=1))

    for options in ({"space": "vectors", "lr": 0.2}, {}):
        made, right = found(message, x, max_iterations=100, **options)
        assert (right, made.stopped) == (1, "converged")
        assert torch.equal(made.y, x.roll(-1, dims=1))


def test_under_noise_words_come_back_that_dager_sees_no_span_of():
    x, message = encoder(1, noise=3e-4)
    made, _ = found(message, x, max_iterations=100)
    exact = DAGER().reconstruct([message], generator(0, "attack"))

    assert exact.stopped == "not_identifiable"
    assert 0 < made.details["rank"] <= LENGTH
    assert float((made.x == x).float().mean()) > 0.8


def test_what_no_gradient_shows_is_not_identifiable():
    x, message = encoder(1)
    made, _ = found(replace(message, update=torch.zeros_like(message.update)), x)

    assert (made.stopped, made.cost) == ("not_identifiable", 1.0)
    wanted, _ = found(replace(message, update=torch.zeros_like(message.update)), x, rank=2)
    assert (wanted.stopped, wanted.details["rank"]) == ("not_identifiable", 0)


@pytest.mark.parametrize("attack", [TIGER, FILM])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"words_from": TOKENS}, "words_from = 300 leaves no word of 300 tokens"),
        ({"first": TOKENS}, "special token 300 is none of 300"),
        ({"padding": TOKENS + 1}, "special token 301 is none of 300"),
    ],
)
def test_tokens_that_there_are_not_are_refused(attack, options, words):
    with pytest.raises(PluginError, match=words):
        attack(**options).check(encoder(1)[1])


class Filled(nn.Module):
    """Two layers that do not see what fills up, as models of the hub do not."""

    def __init__(self, padding):
        super().__init__()
        self.tokens, self.padding = nn.Embedding(TOKENS, 8), padding
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        seen = (x != self.padding)[..., None]
        return self.head((self.second(self.first(self.tokens(x)).tanh()) * seen).mean(dim=1))


@pytest.mark.parametrize("padding", [0, TOKENS - 1])
def test_vectors_stand_for_words_and_not_for_what_fills_up(padding):
    """Oracle: the true words' vectors give the client's gradient, whichever token fills up."""
    x, model = encoder(1)[0] % (TOKENS - 2) + 1, Filled(padding)
    message = sent(x, model, torch.ones(1, dtype=torch.int64))
    step = embedded(message, SpecialTokens())
    gradient = step.gradients((step.vectors(x) * step.unit)[None], torch.ones(1, dtype=torch.int64))[0]

    assert torch.allclose(gradient, -message.update[step.counts], atol=1e-6)
    assert float(gradient.norm()) > 1e-3
    template = torch.full((LENGTH,), -1)
    template[-1] = TOKENS - 2
    away = Subspaces(model, "tokens", ["first"], [torch.eye(8)], template)
    assert away.ids.tolist() == [TOKENS - 1 - (padding > 0) * 2] * (LENGTH - 1) + [TOKENS - 2]


def test_sentences_are_taken_that_are_unlike_each_other():
    """By hand: the second has four of five words of the first, so that the third comes before it."""
    rows = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [7, 8, 9, 4, 5]])
    off = torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.1, 0.1]])
    words = torch.ones(5, dtype=torch.bool)

    assert _distinct(rows, off, words, 2)[0].tolist() == [rows[0].tolist(), rows[2].tolist()]
    assert _distinct(rows, off, words, 3)[0].tolist() == [rows[i].tolist() for i in (0, 2, 1)]
    assert len(_distinct(rows[:1], off[:1], words, 2)[0]) == 2


def test_a_model_without_two_attentions_or_frozen_ones_is_refused():
    message = encoder(1)[1]
    with pytest.raises(PluginError, match=r"two blocks or more .* the model has 1 attention of that kind"):
        TIGER().check(replace(message, model=TinyBert(width=16, blocks=1).build((LENGTH,), 2, TOKENS)))
    layout = Layout.of(nn.Linear(2, 2))
    with pytest.raises(PluginError, match=r"reads the gradients of blocks.0.query.* and none is trained"):
        TIGER().check(replace(message, layout=layout, update=torch.zeros(6)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"space": "all"}, "space must be one of words, vectors, got 'all'"),
        ({"candidates": 0}, "candidates must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1, got 0"),
        ({"rank": 0}, "rank must be at least 1 or None, got 0"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TIGER(**options)
