"""Oracles: a permuted copy, which must come back exactly; torch's own model, which must compute the same."""

import itertools

import pytest
import torch
from torch import nn

from gauntlet.clients.models import MODELS
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Context, Updates
from gauntlet.defenses.parts.unit_chains import chain_of
from gauntlet.defenses.weight_matching import WeightMatching, matched

CONVOLVED = (1, 6, 6)


def perceptron():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))


def convolution():
    first, second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3, bias=False)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))


def vector(model):
    return Layout.of(model).flatten(dict(model.named_parameters())).detach().double()


def shuffled(model, seed=0):
    """Return the same function with its hidden units in another order.  # [P]"""
    chain, found, draw = chain_of(Layout.of(model), "test"), vector(model), generator(seed, "shuffle")
    for layer, hidden in enumerate(chain.hidden):
        found = chain.permuted(layer, found, torch.from_numpy(draw.permutation(hidden.units)))
    return found


def outputs(model, params, x):
    with torch.no_grad():
        for name, view in Layout.of(model).views(params.float()).items():
            dict(model.named_parameters())[name].copy_(view)
        return model(x)


@pytest.mark.parametrize("build", [perceptron, convolution])
def test_a_permuted_copy_comes_back_exactly_and_computes_the_same(build):
    torch.manual_seed(0)
    model = build()
    shape = CONVOLVED if build is convolution else (5,)
    x, a, b = torch.randn(4, *shape), vector(model), shuffled(model)
    assert not torch.equal(a, b)
    torch.testing.assert_close(outputs(build(), b, x), outputs(build(), a, x))
    back = matched(chain_of(Layout.of(model), "test"), a, b, generator(0, "order"))
    assert torch.equal(back, a)


def test_models_that_share_nothing_compute_the_same_and_lie_nearer():
    torch.manual_seed(1)
    one, two, x = perceptron(), perceptron(), torch.randn(4, 5)
    a, b = vector(one), vector(two)
    moved = matched(chain_of(Layout.of(one), "test"), a, b, generator(0, "order"))
    assert float(a @ moved) > float(a @ b)
    torch.testing.assert_close(outputs(perceptron(), moved, x), outputs(perceptron(), b, x))


def test_with_one_hidden_layer_no_order_lies_nearer():
    """All 24 orders of four units."""
    torch.manual_seed(2)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(2)]
    (a, b), chain = map(vector, nets), chain_of(Layout.of(nets[0]), "test")
    every = [float(a @ chain.permuted(0, b, torch.tensor(o))) for o in itertools.permutations(range(4))]
    assert float(a @ matched(chain, a, b, generator(0, "order"))) == pytest.approx(max(every))


def cohort(vectors, model, round_=0):
    params = vector(model).float()
    context = Context(round_, params, Layout.of(model), 0)
    size = len(vectors)
    return Updates(vectors - params, torch.arange(size), torch.full((size,), 5), context=context)


@pytest.mark.parametrize("mode", ["reference", "mean"])
def test_permuted_copies_of_one_model_average_to_it(mode):
    torch.manual_seed(3)
    model, x = perceptron(), torch.randn(4, 5)
    rows = torch.stack([shuffled(model, seed) for seed in range(4)]).float()
    updates = cohort(rows, perceptron())
    plain = updates.vectors.mean(dim=0) + updates.context.params
    out, _ = WeightMatching(mode=mode).transform(updates, None)
    merged = out.vectors.mean(dim=0) + updates.context.params
    expected = outputs(perceptron(), vector(model), x)
    torch.testing.assert_close(outputs(perceptron(), merged, x), expected, rtol=1e-4, atol=1e-5)
    assert (outputs(perceptron(), plain, x) - expected).abs().max() > 0.01
    assert torch.equal(out.vectors[0], updates.vectors[0]) or mode == "mean"


def test_models_with_a_common_start_stay_as_they_are():
    torch.manual_seed(4)
    model = perceptron()
    rows = vector(model).float() + 1e-3 * torch.randn(3, len(vector(model)))
    updates = cohort(rows, model)
    torch.testing.assert_close(WeightMatching().transform(updates, None)[0].vectors, updates.vectors)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), "1.weight besides"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(6, 2)), "0.weight has 4 outputs, 1.weight 6 inputs"),
    ],
)
def test_layers_that_are_no_chain_are_refused(model, said):
    with pytest.raises(ValueError, match=said):
        chain_of(Layout.of(model), "weight_matching")


def test_without_a_round_and_with_options_that_cannot_be_it_says_so():
    with pytest.raises(ValueError, match="needs the layers of the model"):
        WeightMatching().transform(Updates(torch.zeros(2, 3), torch.arange(2), torch.ones(2)), None)
    with pytest.raises(ValueError, match="mode must be"):
        WeightMatching(mode="x")


PICTURES = ("mlp", "lenet_sigmoid", "lenet_mudhog", "cnn_mudhog_fashion", "mcnn", "cnn_mcmahan")
AROUND = ("rnn", "lstm", "residual_mlp", "lora")


@pytest.mark.parametrize("name", [*PICTURES, *AROUND])
def test_models_of_the_table_keep_their_function_or_are_refused(name):
    """What follows a recurrent state, a residual stream or an adapter's base would not be permuted along."""
    shape = (4, 12) if name == "lstm" else (8, 8) if name == "rnn" else (1, 28, 28)
    model = MODELS.build(name).build(shape, 3).eval()
    if name in AROUND:
        with pytest.raises(ValueError, match="test needs layers"):
            chain_of(Layout.of(model), "test")
        return
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    found = outputs(model, shuffled(model).float(), x)
    torch.testing.assert_close(found, model(x).detach(), rtol=1e-4, atol=1e-5)
