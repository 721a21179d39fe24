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
from gauntlet.attacks.leakage.recit_style import RecitStyle, _allowed
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
    allowed = _allowed(seen, model, layers[0], found)
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
    [({"beam": 0}, "beam must be at least 1, got 0"), ({"lm_weight": -1.0}, "lm_weight must be at least 0")],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        RecitStyle(**options)


def test_a_model_without_attention_is_refused():
    x = sentences(1)
    seen = sent(model_of(V, 16, 0.02), x)
    flat = nn.Sequential(nn.Embedding(TOKENS, 4), nn.Linear(4, TOKENS))
    with pytest.raises(PluginError, match="needs a transformer whose queries"):
        RecitStyle().check(replace(seen, model=flat))
