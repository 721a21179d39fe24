"""Oracle: the victim's own image. R-GAP is exact in float64; the thresholds of float32 are measured ones."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.parts.chain import chain_of
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.rgap import RGap
from gauntlet.clients.models.lenet_sigmoid import LenetSigmoid
from gauntlet.clients.models.normalized import Normalized
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator, seeded_torch


def made(*layers, seed=0, spread=0.5):
    """A chain of layers of which the weights are drawn from U(-spread, spread)."""
    model = nn.Sequential(*layers)
    with seeded_torch(generator(seed, "weights")):
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -spread, spread)
    return model


def lenet(seed=0):
    with seeded_torch(generator(seed, "weights")):
        return LenetSigmoid().build((1, 8, 8), 10)


def run(observation):
    return RGap().reconstruct([observation], generator(0, "attack"))


def quality(found, truth):
    return score(found, truth).psnr.item()


CHAINS = {
    "lenet": lenet,
    "tanh and strides": lambda: made(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(),
        nn.Flatten(), nn.Linear(128, 10), spread=0.3,
    ),
    "leaky and grouped": lambda: made(
        nn.Conv2d(1, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
        nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(512, 10), spread=0.3,
    ),
    "linear layers": lambda: made(
        nn.Flatten(), nn.Linear(64, 48), nn.Sigmoid(), nn.Linear(48, 30), nn.Tanh(), nn.Linear(30, 10)
    ),
    "one layer": lambda: made(nn.Flatten(), nn.Linear(64, 10)),
    "normalised": lambda: Normalized(lenet(), (0.3,), (0.25,)),
    "dropout in evaluation": lambda: made(
        nn.Flatten(), nn.Linear(64, 48), nn.Dropout(0.0), nn.Sigmoid(), nn.Linear(48, 10)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHAINS)
def test_in_float64_a_digit_is_exact(digits, observe, kind):
    """Additions to the leakage specification, B': 120 dB, the cap, from float64 gradients."""
    x, y = digits
    truth = Truth(x[4:5], y[4:5])
    observation = observe(CHAINS[kind]().double(), x[4:5].double(), y[4:5], lr=1.0)

    found = run(replace(observation, update=observation.update.double()))

    assert quality(found, truth) > 110
    assert found.y.tolist() == truth.y.tolist()
    assert found.cost < 1e-6
    assert found.stopped == "closed_form"


def test_inputs_that_clients_hid_are_not_certified(digits, observe):
    """As soteria on the first layer does: columns of its gradient are 0, and no residual is left."""
    x, y = digits[0][4:5], digits[1][4:5]
    seen = observe(CHAINS["linear layers"](), x, y)
    update = seen.update.clone()
    next(v for v in seen.layout.views(update).values() if v.ndim == 2)[:, ::3] = 0
    told = replace(seen.knowledge, client_defense="soteria")

    found = run(replace(seen, update=update, knowledge=told))

    assert quality(found, Truth(x, y)) < 30
    assert found.stopped == "not_certified"


@pytest.mark.parametrize(("kind", "least"), [("lenet", 70), ("tanh and strides", 50), ("linear layers", 70)])
def test_from_the_update_that_was_sent_a_digit_is_near(digits, observe, kind, least):
    """Float32 updates at lr 0.1, the step size not told."""
    x, y = digits
    for i in range(3):
        truth = Truth(x[i : i + 1], y[i : i + 1])
        observation = observe(CHAINS[kind](), truth.x, truth.y)
        found = run(replace(observation, knowledge=replace(observation.knowledge, lr=None)))

        assert quality(found, truth) > least
        assert found.y.tolist() == truth.y.tolist()


def test_the_cost_tells_a_message_that_is_no_gradient_of_one_example(digits, observe):
    """The certificate that an attacker sees: small for one example, large for two, or for noise."""
    x, y = digits
    one = observe(lenet(), x[:1], y[:1])
    two = replace(observe(lenet(), x[:2], y[:2]), knowledge=one.knowledge)
    noisy = observe(lenet(), x[:1], y[:1], noise_std=1e-2)

    assert (run(one).cost < 1e-3, run(one).stopped) == (True, "closed_form")
    for message in (two, noisy):
        found = run(message)
        assert found.cost > 0.02
        assert found.stopped == "not_certified"
        assert quality(found, Truth(x[:1], y[:1])) < 40


def test_a_known_label_changes_nothing_else(digits, observe):
    x, y = digits
    observation = observe(lenet(), x[:1], y[:1])
    told = replace(observation, knowledge=replace(observation.knowledge, labels=(7,)))

    assert run(told).y.tolist() == [7]
    assert torch.equal(run(told).x, run(observation).x)


def test_a_message_of_zeros_says_nan(digits, observe):
    x, y = digits
    observation = observe(lenet(), x[:1], y[:1])

    assert run(replace(observation, update=torch.zeros_like(observation.update))).stopped == "nan"


class Skipping(nn.Module):
    """Adds what went into a layer to what comes out."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.last(self.act(self.first(x)) + x)


REFUSED = {
    "relu": (
        lambda: made(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        "the model has ReLU",
    ),
    "pooling": (
        lambda: made(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10)),
        "the model has MaxPool2d",
    ),
    "two activations": (
        lambda: made(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Sigmoid(), nn.Linear(32, 10)),
        "the model has Sigmoid",
    ),
    "a skip": (Skipping, "stand one behind the other; last does not"),
    "no bias": (
        lambda: made(nn.Flatten(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10, bias=False)),
        "a bias on the last layer",
    ),
    "too few equations": (
        lambda: made(nn.Conv2d(1, 1, 3, stride=4), nn.Sigmoid(), nn.Flatten(), nn.Linear(4, 10)),
        "layer 0 has 13 for 64",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_it_cannot_walk_is_refused_in_one_line(digits, observe, kind):
    x, y = digits
    make, complaint = REFUSED[kind]

    with pytest.raises(PluginError, match=complaint) as caught:
        run(observe(make(), x[:1], y[:1]))
    assert "\n" not in str(caught.value)


def test_a_tolerance_out_of_range_is_refused():
    with pytest.raises(ValueError, match="tolerance must be above 0 and finite, got 0"):
        RGap(tolerance=0.0)


def test_several_examples_are_refused(digits, observe):
    x, y = digits
    with pytest.raises(PluginError, match="got batch_size = 2"):
        run(observe(lenet(), x[:2], y[:2]))


def test_a_chain_is_the_models_layers_in_their_order(digits, observe):
    x, y = digits
    chain = chain_of(observe(lenet(), x[:1], y[:1]), "RGap")

    assert [link.name for link in chain.links] == ["0.", "2.", "4.", "7."]
    assert [link.input_shape for link in chain.links] == [(1, 8, 8), (12, 4, 4), (12, 2, 2), (48,)]
    assert chain.slope.tolist() == torch.ones(1, 8, 8).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("mnist", 70), ("cifar10", 40)])
def test_pictures_are_rebuilt_where_a_search_stalls(real_data, observe, name, least):
    """Model seed 1 is 5 to 31 dB by DLG (additions to the specification, B'); image 1, lr 0.1."""
    data = real_data(name)
    x = torch.tensor(data.test_x[1:2], dtype=torch.float32).reshape(1, *data.input_shape)
    truth = Truth(x / 255 if float(x.max()) > 1 else x, torch.tensor(data.test_y[1:2]).long())
    with seeded_torch(generator(1, "weights")):
        model = LenetSigmoid().build(tuple(data.input_shape), 10)

    found = run(observe(model, truth.x, truth.y))

    assert quality(found, truth) > least
    assert found.y.tolist() == truth.y.tolist()
