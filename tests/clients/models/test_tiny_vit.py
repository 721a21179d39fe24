"""The vision transformer against torch's own layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.clients.models import MODELS
from gauntlet.clients.models.tiny_vit import TinyVit
from gauntlet.core.dropout import Call, masked, seen_calls
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch


def made(**options):
    with seeded_torch(generator(0, "model")):
        model = TinyVit(**{"width": 8, "heads": 2, "inner": 12, **options}).build((3, 8, 12), 5)
        return model, torch.rand(4, 3, 8, 12)


def test_logits_are_those_of_torchs_transformer_layers():
    """nn.TransformerEncoderLayer with normalisation first and GELU; patches by torch's unfold."""
    model, x = made()
    patches = functional.unfold(x, 4, stride=4).transpose(1, 2)  # [B, 6, 48]
    tokens = torch.cat([torch.zeros(4, 1, 8), model.embedding(patches)], dim=1)
    h = tokens + model.positions.weight
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True)
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
        h = layer(h)
    wanted = model.head(functional.layer_norm(h, (8,), model.norm.weight, model.norm.bias)[:, 0])

    assert torch.allclose(model(x), wanted, atol=1e-5)


def test_the_number_of_parameters_is_that_of_the_page():
    """By hand, with d = 64: patches, positions, attention, feed-forward layer and norms of a block, head."""
    model = MODELS.build("tiny_vit").build((3, 32, 32), 10)
    blocks = 2 * (4 * (64**2 + 64) + 2 * 64 * 128 + 128 + 64 + 4 * 64)

    expected = 48 * 64 + 64 + 65 * 64 + blocks + 2 * 64 + 650
    assert Layout.of(model).num_parameters == expected == 75_018


def test_dropout_stands_behind_embeddings_attention_and_both_feed_forward_layers():
    """Appendix B.1: behind every dense layer but those of queries, keys and values, and the embeddings."""
    model, x = made(dropout=0.5, blocks=2)
    found = [Call(rate, tuple(shape[1:])) for rate, shape in seen_calls(model, x)]
    tokens, inner = Call(0.5, (7, 8)), Call(0.5, (7, 12))
    assert found == [tokens, *[tokens, inner, tokens] * 2]
    with masked(model, [torch.full((4, *call.shape), 0.5) for call in found]):
        halved = model(x)
    assert torch.allclose(halved, model.eval()(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 6, "heads": 4}, "width must be a multiple of heads = 4, got 6"),
        ({"patch": 0}, "patch must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(PluginError, match=words):
        MODELS.build("tiny_vit", options)


def test_images_that_no_patch_divides_are_refused():
    with pytest.raises(ValueError, match="patch = 4 must divide both sides of 8 x 10"):
        TinyVit().build((3, 8, 10), 5)
