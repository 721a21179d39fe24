"""Oracles: the table of the specification (leakage.md 7.6), and what a step was made of.

A decoder of two blocks, 128 wide, 500 tokens, sentences of 8 with the next token as label inside of each, so
that nothing comes back of the last position; adapters on queries and values, in float64.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.parts.adapter_spans import filter_of
from gauntlet.attacks.leakage.parts.attention_inputs import attention_inputs, input_of
from gauntlet.attacks.leakage.parts.note_fields import with_notes
from gauntlet.attacks.leakage.recit_style import RecitStyle
from gauntlet.clients.models.lora import Adapted, Lora
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH = 500, 8


def model_of(targets, rank, std, seed=0, dropout=0.0):
    with seeded_torch(generator(seed, "weights")):
        gpt = {"name": "tiny_gpt", "width": 128, "blocks": 2}
        model = Lora(of=gpt, rank=rank, targets=targets, dropout=dropout).build((LENGTH,), TOKENS)
        for layer in model.modules():
            if isinstance(layer, Adapted) and std:
                nn.init.normal_(layer.lora_up.weight, std=std)
    return model.double()


def sent(model, x, steps=1, momentum=0.0, adam=False, double=True):
    """Return what a client sends after some steps at lr 0.1 on x, whose labels are its own next tokens."""
    layout = Layout.of(model)
    own = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in own]
    kept = [torch.zeros_like(p) for p in own]
    for _ in range(steps):
        loss = functional.cross_entropy(model(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())
        for p, g, last in zip(own, torch.autograd.grad(loss, own), kept, strict=True):
            last.mul_(momentum).add_(g)
            p.data -= 1e-3 * g / (g.abs() + 1e-8) if adam else 0.1 * last
    update = torch.cat([(p.detach() - b).flatten() for p, b in zip(own, before, strict=True)])
    with torch.no_grad():
        for p, b in zip(own, before, strict=True):
            p.copy_(b)
    return Observation(
        0, 0, model, layout, b"", update if double else update.float(), (LENGTH,), TOKENS,
        (0.0, TOKENS - 1.0), LeakageKnowledge(batch_size=len(x), local_steps=steps), num_tokens=TOKENS,
        kind="gradient", label_shape=(LENGTH,),
    )  # fmt: skip


def sentences(size, seed=0):
    return torch.from_numpy(generator(seed, "sentences").integers(TOKENS, size=(size, LENGTH)))


def passed(seen, x):
    """Return (the filter's rank, true pairs that pass, pairs in the batch, false ones that pass)."""
    model = seen.model
    layers = attention_inputs(model, x[:1])[0]
    found = filter_of(seen, model, layers)
    allowed, _ = RecitStyle()._tokens(seen, model, layers[0], found)
    true = torch.zeros_like(allowed)
    true[x.flatten(), torch.arange(LENGTH).repeat(len(x))] = True
    return found, int((allowed & true).sum()), int(true.sum()), int((allowed & ~true).sum())


Q, V, QV = ("*query",), ("*value",), ("*query", "*value")
TABLE = {
    "B=1, q and v": (1, 16, QV, 0.02, 7, 7),
    "B=1, v": (1, 16, V, 0.02, 7, 7),
    "B=1, q misses the first token, too": (1, 16, Q, 0.02, 6, 6),
    "B=4, q and v together": (4, 16, QV, 0.02, 28, 28),
    "B=4, v of a larger rank": (4, 32, V, 0.02, 28, 28),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_passes_the_gradients_of_a(case):
    """Specification: rank and pairs found, none false."""
    size, rank, targets, std, dimensions, pairs = TABLE[case]
    x = sentences(size)
    found, right, _, wrong = passed(sent(model_of(targets, rank, std), x), x)

    assert (found.rank, right, wrong) == (dimensions, pairs, 0)
    assert not found.saturated
    assert not found.by_up


def test_a_saturated_filter_says_so_and_names_no_sentence():
    """B=4, v alone: 28 distinct inputs where 16 rows show 16; nothing passes (0 of 32)."""
    x = sentences(4)
    seen = sent(model_of(V, 16, 0.02), x)
    found, right, _, wrong = passed(seen, x)
    made = RecitStyle().reconstruct([seen], generator(0, "attack"))

    assert (found.rank, right, wrong) == (16, 0, 0)
    assert made.details["saturated"] == 1
    assert made.stopped == "not_identifiable"


def test_where_b_is_zero_the_gradients_of_a_are_and_those_of_b_tell():
    """B=1, standard: A-test rank 0, B-test 7 of 8 and none false."""
    x = sentences(1)
    seen = sent(model_of(V, 16, 0.0), x)
    views = seen.layout.views(seen.update)
    found, right, _, wrong = passed(seen, x)

    assert not views["blocks.0.value.lora_down.weight"].any()
    assert found.by_up
    assert (found.rank, right, wrong) == (7, 7, 0)


def test_the_gradients_of_b_let_everything_pass_once_there_are_as_many_tokens_as_rows():
    """B=4, q: rank 16 of 16; 4000 - 32 false pairs pass."""
    x = sentences(4)
    found, right, there, wrong = passed(sent(model_of(Q, 16, 0.0), x), x)

    assert found.saturated
    assert (right, wrong) == (there, TOKENS * LENGTH - there)


@pytest.mark.parametrize(("steps", "momentum"), [(5, 0.0), (5, 0.9)])
def test_several_steps_are_no_shelter(steps, momentum):
    """Specification: 14 of 16 after steps of SGD, with momentum too: layer 1 reads the same in all."""
    x = sentences(2)
    seen = sent(model_of(QV, 32, 0.02), x, steps, momentum)
    found, right, _, wrong = passed(seen, x)

    assert (found.rank, right, wrong) == (14, 14, 0)


def test_what_a_saturated_filter_shows_of_inputs_is_the_ratio_of_two_beta_densities():
    """By hand, r = 16 of b = 28 of d = 128: a share c has (1 - c)^((128 - 28) / 2) times the density. Of a
    count of 40 b is (16 + 40) / 2.
    """
    x = sentences(4)
    seen = sent(model_of(V, 16, 0.02), x)
    layers = attention_inputs(seen.model, x)[0]
    found, inputs = filter_of(seen, seen.model, layers), input_of(seen.model, layers[0], x)
    share = 1 - found.spans[0].distance(inputs) ** 2
    other = 1 - found.spans[0].distance(input_of(seen.model, layers[0], (x + 7) % TOKENS)) ** 2

    assert torch.allclose(found.nats(inputs, 40), (128 - 28) / 2 * (1 - share).log())
    assert float(share[:, :-1].mean()) > float(other[:, :-1].mean()) + 0.2
    assert float(found.nats(inputs, 10**6).min()) < 0  # never more than there are dimensions


def test_the_tokens_nearest_to_a_saturated_filter_hold_most_of_the_true_ones():
    """28 inputs where 16 are shown: chance would be 16 of 500 a position."""
    x = sentences(4)
    seen = sent(model_of(V, 16, 0.02), x)
    layers = attention_inputs(seen.model, x)[0]
    first = filter_of(seen, seen.model, layers)
    allowed, nats = RecitStyle(nearest=16)._tokens(seen, seen.model, layers[0], first)
    made = RecitStyle(nearest=16, beam=2).reconstruct([seen], generator(0, "attack"))

    assert allowed.sum(dim=0).tolist() == [16] * LENGTH
    assert all(nats[allowed[:, i], i].max() <= nats[~allowed[:, i], i].min() for i in range(LENGTH))
    assert float(allowed[x, torch.arange(LENGTH)][:, :-1].float().mean()) > 0.7
    assert made.stopped == "not_identifiable"


class Copying(nn.Module):
    """A language model whose next token is the one three places back, else the largest that it read."""

    def forward(self, x):
        logits = 0.1 * functional.one_hot(x, TOKENS).double().cumsum(dim=1).clamp(max=1)
        logits = logits * torch.arange(1, TOKENS + 1)
        return logits + 1e3 * functional.one_hot(functional.pad(x, (2, 0))[:, :-2], TOKENS)


def test_a_note_stands_behind_each_sentence_and_is_of_tokens_that_were_seen():
    """By hand: of 7 8 9 and note 2 * * 3 *, free places are what stands three back: 8, 9, and 8."""
    model, bag = Copying(), torch.tensor([7, 8, 9])
    rows = [torch.tensor([7, 8, 9]), torch.tensor([8, 9])]
    found = with_notes(model, rows, (2, -1, -1, 3, -1), [bag, bag], LENGTH)

    assert found[0].tolist() == [7, 8, 9, 2, 8, 9, 3, 8]
    assert found[1].tolist()[:3] == [8, 9, 2]
    assert found[1].tolist()[7:] == [0]
    assert set(found[1, [3, 4, 6]].tolist()) <= {7, 8, 9}
    longest = with_notes(model, rows, (2, -1, -1, 3, -1, -1, -1), [bag, bag[:1]], LENGTH)
    assert longest[:, :2].tolist() == [[9, 2], [9, 2]]  # the beginning is left out
    assert longest[1, [2, 3, 5, 6, 7]].tolist() == [7] * 5


def test_an_attack_with_a_note_keeps_its_sentence_and_says_no_token_that_it_did_not_see():
    x = sentences(1)
    seen = sent(model_of(QV, 16, 0.02), x)
    plain = RecitStyle(beam=4).reconstruct([seen], generator(0, "attack")).x
    made = RecitStyle(beam=4, note=(3, -1, -1)).reconstruct([seen], generator(0, "attack")).x

    assert made.shape == x.shape
    sentence = plain[0, : int((plain[0] != 0).nonzero().max()) + 1].tolist()[-(LENGTH - 3) :]
    assert made[0, : len(sentence)].tolist() == sentence
    assert made[0, len(sentence)] == 3
    assert set(made[0, len(sentence) + 1 : len(sentence) + 3].tolist()) <= set(x[0, :-1].tolist())


def test_adam_is():
    """Specification: 0 of 16. Here each step is Adam's first."""
    x = sentences(2)
    found, right, _, _ = passed(sent(model_of(QV, 32, 0.02), x, 2, adam=True), x)

    assert right == 0 or found.saturated


@pytest.mark.parametrize("size", [1, 4])
def test_sentences_are_paired_by_the_second_attention(size):
    """All but the last token, which nobody sees."""
    x = sentences(size)
    made = RecitStyle(beam=4).reconstruct([sent(model_of(QV, 32, 0.02), x)], generator(0, "attack"))
    rows = {tuple(row) for row in x[:, :-1].tolist()}

    assert {tuple(row) for row in made.x[:, :-1].tolist()} == rows
    assert (made.details["paired"], made.details["unseen"], made.stopped) == (1, 1, "not_certified")


def test_float32_is_enough():
    """Specification: true residuals of 2e-7 at most, false ones of 0.3 at least."""
    x = sentences(1)
    seen = sent(model_of(QV, 16, 0.02), x, double=False)
    found, right, _, wrong = passed(replace(seen, update=seen.update.float()), x)

    assert (found.rank, right, wrong) == (7, 7, 0)


def test_true_inputs_lie_in_the_span_and_others_far_away():
    x = sentences(1)
    seen = sent(model_of(V, 16, 0.02), x)
    layers = attention_inputs(seen.model, x)[0]
    span = filter_of(seen, seen.model, layers).spans[0]
    own = span.distance(input_of(seen.model, layers[0], x))[0, :-1]
    other = span.distance(input_of(seen.model, layers[0], (x + 7) % TOKENS))[0]

    assert float(own.max()) < 1e-12
    assert float(other.min()) > 0.3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beam": 0}, "beam must be at least 1, got 0"),
        ({"lm_weight": -1.0}, "lm_weight must be finite and at least 0, got -1.0"),
        ({"lm_weight": float("nan")}, "lm_weight must be finite and at least 0, got nan"),
        ({"nearest": -1}, "nearest and padding must be at least 0, got -1 and 0"),
        ({"note": (1, -2)}, r"note must hold tokens, or -1 where one is free, got \[1, -2\]"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        RecitStyle(**options)


def test_a_model_without_attention_is_refused():
    x = sentences(1)
    seen = sent(model_of(V, 16, 0.02), x)
    flat = nn.Sequential(nn.Embedding(TOKENS, 4), nn.Linear(4, TOKENS))
    with pytest.raises(PluginError, match=r"at most 7 tokens below 500, got \[500\]"):
        RecitStyle(note=(500,)).check(seen)
    with pytest.raises(PluginError, match="needs a transformer whose queries"):
        RecitStyle().check(replace(seen, model=flat))
