"""The encoder against torch's own layers, what padding does, and every example's own gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.clients.models import MODELS
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.clients.tasks.classification import Classification
from gauntlet.clients.tracing.example_step import ExampleStep, layers_of
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH, CLASSES = 9, 6, 3
LENGTHS = (6, 4, 3, 5)  # of the sentences, the rest is padding


def made(**options):
    with seeded_torch(generator(0, "model")):
        small = {"width": 8, "heads": 2, "blocks": 2, "inner": 16, **options}
        model = TinyBert(**small).build((LENGTH,), CLASSES, TOKENS)
        for p in model.parameters():
            nn.init.normal_(p, std=0.5)
        x = torch.randint(1, TOKENS, (len(LENGTHS), LENGTH))
    return model, x * (torch.arange(LENGTH) < torch.tensor(LENGTHS)[:, None])


def test_logits_are_those_of_torchs_transformer_layers():
    """nn.TransformerEncoderLayer with normalisation last and the sentences' own padding mask."""
    model, x = made()
    tables = model.tokens.weight[x] + model.positions.weight + model.types.weight[0]
    h = functional.layer_norm(tables, (8,), model.norm.weight, model.norm.bias, 1e-12)
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, functional.gelu, 1e-12, batch_first=True)
        attention = layer.self_attn
        three = (block.query, block.key, block.value)
        attention.in_proj_weight.data = torch.cat([part.weight.data for part in three])
        attention.in_proj_bias.data = torch.cat([part.bias.data for part in three])
        pairs = (
            (attention.out_proj, block.output),
            (layer.linear1, block.up),
            (layer.linear2, block.down),
            (layer.norm1, block.norm_1),
            (layer.norm2, block.norm_2),
        )
        for theirs, ours in pairs:
            theirs.load_state_dict(ours.state_dict())
        h = layer(h, src_key_padding_mask=x == 0)
    pooled = torch.tanh(h[:, 0] @ model.pooler.weight.t() + model.pooler.bias)

    assert torch.allclose(model(x), pooled @ model.head.weight.t() + model.head.bias, atol=1e-5)


def test_padding_says_nothing_and_every_word_something():
    """A sentence alone, cut behind its last word, has the logits that it has among longer ones."""
    model, x = made()
    logits = model(x)
    for n, length in enumerate(LENGTHS):
        assert torch.allclose(model(x[n : n + 1, :length])[0], logits[n], atol=1e-5)
    other = x.clone()
    other[:, 2] = other[:, 2] % (TOKENS - 1) + 1
    assert not torch.isclose(model(other), logits).all(dim=1).any()
    with torch.no_grad():
        model.tokens.weight[0] += 1
        model.positions.weight[4:] += 1
    assert torch.allclose(model(x)[1:3], logits[1:3], atol=1e-5)


def test_a_sequence_of_padding_alone_has_finite_logits_and_gradients():
    model, _ = made()
    loss = model(torch.zeros(2, LENGTH, dtype=torch.int64)).square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_weights_begin_as_those_of_bert():
    """Normal with standard deviation 0.02, biases 0; the sizes add up to the number that the page says."""
    with seeded_torch(generator(0, "model")):
        model = TinyBert().build((32,), 2, 4000)
    block = 4 * 128**2 + 4 * 128 + 2 * 128 * 512 + 512 + 128 + 4 * 128
    whole = (4000 + 32 + 2 + 2) * 128 + 2 * block + 128 * 129 + 2 * 129

    assert float(model.tokens.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
    assert not model.blocks[0].up.bias.any()
    assert Layout.of(model).num_parameters == whole == 929_922


def test_embeddings_that_are_frozen_are_not_sent():
    model, x = made(frozen_embeddings=True)
    names = {slot.name.partition(".")[0] for slot in Layout.of(model).parameters}

    assert names == {"norm", "blocks", "pooler", "head"}
    assert torch.allclose(model(x), made()[0](x))


@pytest.mark.parametrize("fast", [True, False])
def test_every_examples_gradient_is_that_of_the_example_alone(fast, monkeypatch):
    """Oracle: autograd on one sentence at a time; by factors, and by torch.func where a layer has none."""
    model, x = made()
    if not fast:
        monkeypatch.setattr("gauntlet.clients.tracing.example_step.layers_of", lambda *_: None)
    y, form = torch.tensor([0, 2, 1, 1]), Classification().form("cross_entropy")
    named = dict(model.named_parameters())
    step = ExampleStep(model, list(named), form)
    step._traces = {}
    with torch.no_grad():
        params = [p.detach()[None] for p in named.values()]
        gradients, losses = step(params, x[None], form.targets(y, torch.ones(4), CLASSES)[None])

    assert layers_of(model, list(named), (LENGTH,), torch.int64) is not None
    weights = torch.eye(4)
    for n in range(4):
        loss = functional.cross_entropy(model(x[n : n + 1]), y[n : n + 1])
        alone = torch.autograd.grad(loss, list(named.values()))
        assert float(losses[0, n]) == pytest.approx(float(loss.detach()), rel=1e-5)
        for gradient, wanted in zip(gradients, alone, strict=True):
            home = torch.zeros_like(wanted)[None]
            gradient.add_to(home, weights[n : n + 1])
            assert torch.allclose(home[0], wanted, atol=1e-6)
            length = float(gradient.squares(torch.ones(1, 4, dtype=torch.bool))[0, n])
            assert length == pytest.approx(float(wanted.double().square().sum()), rel=2e-2, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 6, "heads": 4}, "width must be a multiple of heads = 4, got 6"),
        ({"inner": 0}, "inner must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(PluginError, match=words):
        MODELS.build("tiny_bert", options)


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"sequences of tokens \[S\], got inputs \[20\] of floats"):
        TinyBert().build((20,), 2, 0)
