"""Parameter counts, and what a model must stand to be trained in a stack of clients."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from gauntlet.clients.models import MODELS
from gauntlet.clients.models.lenet_mudhog import Resize
from gauntlet.core.layout import Layout

GREY, COLOUR, DIGIT = (1, 28, 28), (3, 32, 32), (1, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "input_shape", "expected"),
    [
        ("logistic_regression", {}, GREY, 7_850),  # 784 * 10 + 10
        ("mlp", {}, GREY, 159_010),  # 785 * 200 + 201 * 10
        ("mlp", {"hidden": [200, 200]}, GREY, 199_210),  # McMahan et al. (2017), Section 3: the 2NN
        ("mlp", {"hidden": []}, DIGIT, 650),  # 65 * 10
        ("lenet_sigmoid", {}, COLOUR, 15_826),  # 912 + 3612 + 3612 + 769 * 10; 768 features by the DLG code
        ("lenet_sigmoid", {}, GREY, 13_426),  # 312 + 3612 + 3612 + 589 * 10; 588 features by the iDLG code
        ("lenet_mudhog", {}, GREY, 81_194),  # MUD-HoG, authors' code
        ("lenet_mudhog", {}, (1, 32, 32), 81_194),
        ("cnn_mudhog_fashion", {}, GREY, 165_106),  # MUD-HoG, authors' code
        ("mcnn", {}, GREY, 21_840),  # shaoxiongji/federated-learning
        ("cnn_mcmahan", {}, GREY, 1_663_370),  # McMahan et al. (2017), Section 3
        ("cnn_heterofl", {"hidden": (4, 8, 16, 32)}, GREY, 6_594),  # HeteroFL, level e: 6.6 thousand
        ("cnn_heterofl", {}, GREY, 1_556_874),  # 1.6 million
        ("resnet18_gn", {}, COLOUR, 11_173_962),  # ResNet-18 with this stem, as widely published for CIFAR-10
    ],
)
def test_the_number_of_parameters_is_the_published_one(name, options, input_shape, expected):
    model = MODELS.build(name, options).build(input_shape, 10)
    assert Layout.of(model).num_parameters == expected
    assert Layout.of(model).num_buffers == 0


RECURRENT, OF_TOKENS = ("lstm", "gru", "bilstm", "bigru"), ("tiny_gpt", "tiny_bert")


@pytest.mark.parametrize("name", [n for n in MODELS.table if n != "resnet18_gn"])
def test_gradients_of_stacked_clients_are_those_of_each_alone(name):
    """Oracle: one functional call a client."""
    shape = GREY if name in ("cnn_mudhog_fashion", "mcnn", "cnn_mcmahan") else (1, 16, 16)
    shape = (6, 10) if name in RECURRENT else (7,) if name in OF_TOKENS else shape  # steps, features
    told = {"num_tokens": 10} if name == "tiny_bert" else {}
    models = [MODELS.build(name).build(shape, 10, **told) for _ in range(2)]
    params, _ = stack_module_state(models)
    x = torch.randint(10, (2, 3, *shape)) if name in OF_TOKENS else torch.rand(2, 3, *shape)
    y = torch.randint(10, (2, 3, *models[0](x[0]).shape[1:-1]))

    def loss(p, xs, ys):
        outputs = functional_call(models[0], p, (xs,))
        return torch.nn.functional.cross_entropy(outputs.flatten(0, -2), ys.flatten())

    stacked = vmap(grad(loss))(params, x, y)
    for i in range(2):
        alone = grad(loss)({k: v[i] for k, v in params.items()}, x[i], y[i])
        for key, value in alone.items():
            torch.testing.assert_close(stacked[key][i], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_resnets_can_be_stacked():
    models = [MODELS.build("resnet18_gn").build(COLOUR, 10) for _ in range(2)]
    params, _ = stack_module_state(models)
    x = torch.rand(2, 1, *COLOUR)
    stacked = vmap(lambda p, xs: functional_call(models[0], p, (xs,)))(params, x)
    alone = torch.stack([m(xs) for m, xs in zip(models, x, strict=True)])
    torch.testing.assert_close(stacked, alone, rtol=1e-3, atol=1e-5)


def test_lenet_sigmoid_redraws_every_weight_and_bias_evenly():
    """Zhu et al. (2019): U(-0.5, 0.5), whose standard deviation is 1 / sqrt(12)."""
    model = MODELS.build("lenet_sigmoid").build(COLOUR, 10)
    for parameter in model.parameters():
        assert parameter.detach().abs().max() <= 0.5
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert float(weights.std()) == pytest.approx(12**-0.5, rel=0.02)
    biases = torch.cat([p.detach() for p in model.parameters() if p.ndim == 1])
    assert biases.abs().max() > 0.25  # torch's own draw stays below 1 / sqrt(75)
    own = MODELS.build("lenet_sigmoid", {"init_range": 0.0}).build(COLOUR, 10)
    assert max(float(p.detach().abs().max()) for p in own.parameters()) <= 75**-0.5


def test_pictures_are_resized_as_pillow_does():
    """Oracle: Pillow's bilinear resize, which torchvision's Resize on pictures calls."""
    from PIL import Image

    picture = np.random.default_rng(0).random((28, 28), dtype=np.float32)
    oracle = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BILINEAR))
    ours = Resize()(torch.from_numpy(picture)[None, None])[0, 0]
    np.testing.assert_allclose(ours.numpy(), oracle, atol=1e-5)
    large = torch.rand(1, 1, 32, 32)
    assert Resize()(large) is large


def test_logistic_regression_can_start_at_zero():
    model = MODELS.build("logistic_regression", {"zero_init": True}).build(GREY, 10)
    assert model(torch.rand(2, *GREY)).abs().sum() == 0


def test_dropout_drops_in_training_only():
    model = MODELS.build("mlp", {"dropout": 0.5}).build(GREY, 10)
    x = torch.rand(4, *GREY)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_an_mlp_is_what_the_formula_says(activation):
    """By hand: W2 a(W1 x + b1) + b2."""
    model = MODELS.build("mlp", {"hidden": [5], "activation": activation}).build((3,), 2)
    w1, b1, w2, b2 = (p.detach() for p in model.parameters())
    x = torch.rand(4, 3)
    a = torch.nn.functional.gelu if activation == "gelu" else getattr(torch, activation)
    torch.testing.assert_close(model(x), a(x @ w1.T + b1) @ w2.T + b2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp", {"hidden": [10, 0]}, "sizes of at least 1, got \\[10, 0\\]"),
        ("mlp", {"dropout": 1.0}, "dropout must be in \\[0, 1\\), got 1.0"),
        ("mlp", {"activation": "swish"}, "activation"),
        ("lenet_sigmoid", {"init_range": -1.0}, "init_range must be at least 0"),
        ("resnet18_gn", {"num_groups": 3}, "num_groups must divide 64, got 3"),
    ],
)
def test_an_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(Exception, match=message):
        MODELS.build(name, options)
