"""The decoder against torch's own layers, and what a position sees."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.clients.tasks.language_model import LanguageModel
from gauntlet.clients.tracing.example_step import ExampleStep, layers_of
from gauntlet.clients.tracing.losses import ExampleForm
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch

TOKENS, LENGTH = 7, 5


def made(**options):
    with seeded_torch(generator(0, "model")):
        model = TinyGpt(**{"width": 8, "heads": 2, "blocks": 2, **options}).build((LENGTH,), TOKENS)
        for p in model.parameters():
            nn.init.normal_(p, std=0.5)
        return model, torch.randint(0, TOKENS, (4, LENGTH))


def test_logits_are_those_of_torchs_transformer_layers():
    """nn.TransformerEncoderLayer with normalisation first, GELU in its tanh form and a causal mask."""
    model, x = made()
    h = functional.embedding(x, model.tokens.weight) + model.positions.weight
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    for block in model.blocks:
        gelu = partial(functional.gelu, approximate="tanh")
        layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, gelu, batch_first=True, norm_first=True)
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
        h = layer(h, src_mask=mask, is_causal=True)
    wanted = functional.layer_norm(h, (8,), model.norm.weight, model.norm.bias) @ model.head.weight.t()

    assert torch.allclose(model(x), wanted, atol=1e-5)


def test_a_position_sees_itself_and_those_before_it():
    model, x = made()
    other = x.clone()
    other[:, 3] = (other[:, 3] + 1) % TOKENS

    before, after = model(x), model(other)

    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).all(dim=2).any()


def test_weights_begin_as_those_of_gpt_2():
    """Normal with standard deviation 0.02, biases 0; the sizes add up to the number that the page says."""
    with seeded_torch(generator(0, "model")):
        model = TinyGpt().build((32,), 65)
    every = torch.cat([model.tokens.weight.flatten(), model.head.weight.flatten()]).detach()

    assert float(every.std()) == pytest.approx(0.02, rel=0.03)
    assert not model.blocks[0].up.bias.any()
    whole = 2 * 65 * 64 + 32 * 64 + 2 * (12 * 64**2 + 13 * 64) + 2 * 64
    assert Layout.of(model).num_parameters == whole == 110_464


@pytest.mark.parametrize("fast", [True, False])
def test_every_examples_gradient_is_that_of_the_example_alone(fast, monkeypatch):
    """Oracle: autograd on one sequence at a time; by factors, and by torch.func where a layer has none."""
    model, x = made()
    if not fast:
        monkeypatch.setattr("gauntlet.clients.tracing.example_step.layers_of", lambda *_: None)
    y = torch.randint(0, TOKENS, x.shape, generator=torch.Generator().manual_seed(1))
    form = ExampleForm(LanguageModel(), "cross_entropy", (LENGTH,), True)
    named = dict(model.named_parameters())
    step = ExampleStep(model, list(named), form)
    step._traces = {}
    with torch.no_grad():
        params = [p.detach()[None] for p in named.values()]
        gradients, losses = step(params, x[None], form.targets(y, torch.ones(4), TOKENS)[None])

    assert layers_of(model, list(named), (LENGTH,), torch.int64) is not None
    weights = torch.eye(4)
    for n in range(4):
        loss = functional.cross_entropy(model(x[n : n + 1])[0], y[n])
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
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    from gauntlet.clients.models import MODELS

    with pytest.raises(PluginError, match=words):
        MODELS.build("tiny_gpt", options)
