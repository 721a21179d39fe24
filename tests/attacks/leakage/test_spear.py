"""SPEAR, by the batches that it must give back, and by what it must say where it cannot.

Oracle: the true batch itself, up to what float32 leaves of an update at lr 0.1 (leakage additions, B), and a
gradient worked out by hand.
"""

import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.parts.metrics import match, mse
from gauntlet.attacks.leakage.parts.relu_layer import ReluLayer, agreement
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.attacks.leakage.spear import Spear
from gauntlet.clients.models import Normalized
from gauntlet.core.errors import PluginError
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.seeds import generator, seeded_torch


def rebuild(observation, **options):
    return Spear(**options).reconstruct([observation], generator(0, "attack"))


def error(found, x):
    """Return the mean squared error of each example once the two batches are matched.  # [B]"""
    return mse(found.x[match(found.x, x)], x)


def net(*widths, seed=0, body=nn.ReLU):
    """Return a perceptron of these widths with torch's own initialisation."""
    with seeded_torch(generator(seed, "weights")):
        layers = [nn.Flatten()]
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after), body()]
        return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


@pytest.mark.parametrize("search", ["auto", "sample", "dictionary"])
@pytest.mark.parametrize(("size", "hidden"), [(1, 60), (2, 60), (4, 120), (6, 200)])
def test_whole_batches_of_digits_come_back_from_what_was_sent(digits, observe, search, size, hidden):
    x, y = (part[20 : 20 + size] for part in digits)

    found = rebuild(observe(net(64, hidden, 50, 10), x, y, lr=0.1), search=search)

    assert error(found, x).max() < 1e-10
    assert found.stopped == "converged"
    assert found.cost < 0.005
    assert found.details["rank"] == found.details["found"] == found.details["certified"] == size
    assert found.y.tolist() == sorted(y.tolist())


@pytest.mark.parametrize("widths", [(64, 150, 10), (64, 150, 90, 10), (64, 150, 80, 60, 40, 10)])
@pytest.mark.parametrize("kind", ["plain", "normalised", "functional"])
def test_any_depth_and_normalisation_will_do(digits, observe, widths, kind):
    x, y = (part[40:44] for part in digits)
    model = net(*widths, seed=3)
    if kind == "normalised":
        model = Normalized(model, (0.3,), (0.25,))
    if kind == "functional":
        model = Functional(model)

    found = rebuild(observe(model, x, y))

    assert error(found, x).max() < 1e-10
    assert found.stopped == "converged"


class Functional(nn.Module):
    """The same network with a function in place of the first ReLU: what a layer is called says nothing."""

    def __init__(self, body):
        super().__init__()
        self.first, self.rest = body[1], body[3:]

    def forward(self, x):
        return self.rest(functional.relu(self.first(x.flatten(1))))


def test_a_gradient_by_hand_gives_both_examples(observe):
    """x = (1, 0), (0, 1): four units see the first alone, four the second, one both.

    With upstream gradients E = [[1, 0], ..., [4, 0], [0, 1], ..., [0, 4], [1, 2]], [dW, db] = E [X, 1].
    """
    model = nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 2))
    ramp, nothing, x = torch.arange(1.0, 5), torch.zeros(4), torch.eye(2)
    first, second = torch.stack([ramp, nothing], dim=1), torch.stack([nothing, ramp], dim=1)
    upstream = torch.cat([first, second, torch.tensor([[1.0, 2]])])
    weight = torch.tensor([[1.0, -2]] * 4 + [[-2.0, 1]] * 4 + [[1.0, 1]])
    with torch.no_grad():
        model[0].weight.copy_(weight)
        model[0].bias.zero_()
    seen = observe(model, x, torch.tensor([0, 1]))
    update = torch.zeros_like(seen.update)
    update[:18], update[18:27] = -(upstream @ x).flatten(), -upstream.sum(dim=1)

    found = rebuild(replace(seen, update=update, num_classes=2, kind="gradient"))

    torch.testing.assert_close(found.x[match(found.x, x)], x)
    assert found.cost == 0.0


@pytest.mark.parametrize("lr", [1.0, 0.1, 0.01])
def test_what_float32_leaves_is_predicted_within_a_factor_of_4(digits, observe, lr):
    """Leakage additions, A: a tenth of the step is a hundred times the error.

    Of the last victim, one example has but one unit off that another has on, and a mixture comes back.
    """
    pairs, sure = [], []
    for seed in range(5):
        x, y = (part[8 * seed : 8 * seed + 4] for part in digits)
        found = rebuild(observe(net(64, 150, 60, 10, seed=seed), x, y, lr=lr))
        pairs.append([float(error(found, x).median()), found.details["predicted_mse"]])
        sure.append(found.stopped == "converged")
        assert sure[-1] == (float(error(found, x).max()) < 1e-6)
    measured, predicted = torch.tensor(pairs).median(dim=0).values.tolist()

    assert 0.25 < measured / predicted < 4
    assert sure == [True] * 4 + [False]


def test_without_a_batch_size_it_is_read_from_the_rank(digits, observe):
    x, y = (part[:5] for part in digits)
    seen = observe(net(64, 150, 60, 10), x, y)

    found = rebuild(replace(seen, knowledge=LeakageKnowledge(local_steps=1)))

    assert found.x.shape == x.shape
    assert error(found, x).max() < 1e-10


def test_two_equal_examples_come_back_as_one(digits, observe):
    x, y = digits[0][[3, 3, 9]], digits[1][[3, 3, 9]]

    found = rebuild(observe(net(64, 150, 60, 10), x, y))

    assert found.details["rank"] == 2
    assert found.x.shape == x.shape
    nearest = torch.cdist(x.flatten(1), found.x.flatten(1)).square().min(dim=1).values / 64
    assert nearest.max() < 1e-10


def test_labels_that_are_told_are_taken(digits, observe):
    x, y = (part[:3] for part in digits)
    seen = observe(net(64, 90, 60, 10), x, y)

    found = rebuild(replace(seen, knowledge=replace(seen.knowledge, labels=(7, 1, 4))))

    assert found.y.tolist() == [1, 4, 7]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (net(64, 50, 10, body=nn.Sigmoid), "needs a ReLU behind the first layer"),
        (net(64, 50, 10, body=nn.GELU), "needs a ReLU behind the first layer"),
        (net(64, 50, 10, body=nn.LeakyReLU), "needs a ReLU behind the first layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "needs a ReLU behind the first layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 50, bias=False), nn.ReLU(), nn.Linear(50, 10)), "a bias"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)), "starts with Conv2d"),
        (net(64, 4, 10), r"fewer examples than the first layer has units \(4\).* inputs \(64\).*saturated"),
    ],
    ids=["sigmoid", "gelu", "leaky", "linear", "no bias", "convolution", "narrow"],
)
def test_a_model_that_it_cannot_work_on_is_refused_before_the_run(digits, observe, model, complaint):
    x, y = (part[:4] for part in digits)
    seen = observe(model, x, y)

    with pytest.raises(PluginError, match=complaint):
        refuse_unmet(Spear(), replace(seen, update=torch.zeros_like(seen.update)))


def test_a_lossy_code_and_a_sum_over_clients_are_refused_before_the_run(digits, observe):
    seen = observe(net(64, 50, 10), digits[0][:2], digits[1][:2])
    coded = replace(seen, knowledge=replace(seen.knowledge, codec="topk(share=0.1)"))

    with pytest.raises(PluginError, match=r"codec = identity.* only, got .*topk"):
        refuse_unmet(Spear(), coded)
    with pytest.raises(PluginError, match="got an aggregate of 8 clients"):
        refuse_unmet(Spear(), replace(seen, kind="aggregate", contributors=8))


def test_noise_that_fills_the_rank_is_refused_by_the_name_of_the_mechanism(digits, observe):
    seen = observe(net(64, 50, 10), digits[0][:2], digits[1][:2], noise_std=1e-3)
    noised = replace(seen, knowledge=replace(seen.knowledge, privacy="gaussian"))

    with pytest.raises(PluginError, match=r"rank of .*here \d+, all that .* saturated; .*privacy = gaussian"):
        rebuild(noised)


def test_more_directions_than_examples_are_refused(digits, observe):
    """What several steps, or a sum, would look like."""
    seen = observe(net(64, 50, 10), digits[0][:5], digits[1][:5])

    with pytest.raises(PluginError, match="here 5, above its 3 examples"):
        rebuild(replace(seen, knowledge=replace(seen.knowledge, batch_size=3)))


def test_what_is_not_found_in_time_is_said_to_be_not_certified(digits, observe):
    """Ten examples on sixteen units: no column has as many zeros as would prove it."""
    x, y = (part[:10] for part in digits)

    found = rebuild(observe(net(64, 16, 30, 10), x, y), max_seconds=0.2)

    assert found.stopped == "not_certified"
    assert found.details["found"] < found.details["rank"] == 10
    assert found.x.shape == x.shape


@pytest.mark.parametrize(("seed", "noise", "sure"), [(4, 0.02, False), (7, 0.06, False), (6, 0.06, True)])
def test_mixtures_of_two_that_turn_the_same_units_on_are_not_certified(digits, observe, seed, noise, sure):
    """An example and its noisy copy: where mixtures of both fit every unit but one, nothing is proven."""
    x, y = (part[4 * seed : 4 * seed + 3].clone() for part in digits)
    blur = torch.from_numpy(generator(seed, "noise").standard_normal((1, 8, 8))).float()
    x[1], y[1] = (x[0] + noise * blur).clamp(0, 1), y[0]

    found = rebuild(observe(net(64, 150, 60, 10, seed=seed), x, y), max_seconds=0.2)

    assert found.stopped == ("converged" if sure else "not_certified")
    assert (float(error(found, x).max()) < 1e-10) == sure
    assert (found.details["certified"] == 3) == sure


def test_a_column_is_told_from_another_by_units_on_which_both_agree_with_their_inputs():
    """By hand, one input: units x - b at 0.4 and 0.7. The first has two units off that the second has on."""
    bias = -torch.tensor([0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9, 0.95], dtype=torch.float64)
    weight, inputs = torch.ones(8, 1).double(), torch.tensor([[0.4], [0.7]]).double()
    empty, live = torch.empty(0), torch.ones(8, dtype=torch.bool)
    layer = ReluLayer(empty, live, empty, empty, empty, empty, weight, bias, empty, empty)
    off = inputs + bias <= 0  # [2, 8]

    agreeing, apart = agreement(layer, off, inputs)
    _, alike = agreement(layer, off, inputs[[1, 1]])  # zeros that the inputs do not explain

    assert agreeing.tolist() == [1.0, 1.0]
    assert (apart.tolist(), alike.tolist()) == ([True, False], [False, False])


@pytest.mark.parametrize(("seed", "lr"), [(0, 1e-5), (0, 1e-6), (1, 1e-5)])
def test_a_step_too_small_to_be_read_is_not_certified_and_fails_nothing(digits, observe, seed, lr):
    """Directions that agree once they follow from all of their zeros are one, and no basis."""
    x, y = (part[4 * seed : 4 * seed + 4] for part in digits)

    found = rebuild(observe(net(64, 150, 10, seed=seed), x, y, lr=lr), max_seconds=0.3)

    assert found.stopped == "not_certified"


def test_another_network_than_the_one_that_was_trained_is_not_certified(digits, observe):
    """The certificate compares with the weights that were broadcast: with others, units do not agree."""
    x, y = (part[:4] for part in digits)
    seen = observe(net(64, 150, 60, 10), x, y)

    found = rebuild(replace(seen, model=net(64, 150, 60, 10, seed=9)), max_seconds=0.2)

    assert found.stopped == "not_certified"
    assert found.cost > 0.2


def test_options_out_of_range_are_refused():
    with pytest.raises(
        ValueError, match="search must be one of auto, sample, dictionary, outputs; got 'guess'"
    ):
        Spear(search="guess")
    with pytest.raises(ValueError, match="max_seconds must be above 0 and finite, got 0"):
        Spear(max_seconds=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "width", "seconds"),
    [("mnist", 8, 400, 1), ("mnist", 16, 512, 2), ("mnist", 32, 1024, 10), ("cifar10", 16, 1024, 20)],
)
def test_whole_batches_of_real_images_come_back_in_time(real_data, observe, name, size, width, seconds):
    """Leakage additions, B: float32 updates at lr 0.1, two victims each; a search takes CPU seconds."""
    data = real_data(name)
    for seed in range(2):
        places = generator(seed, "victims").choice(len(data.test_x), size, replace=False)
        x = torch.from_numpy(data.test_x[places] / 255).float()
        y = torch.from_numpy(data.test_y[places])
        x = x if x.ndim == 4 else x[:, None]
        seen = observe(net(x[0].numel(), width, width, 10, seed=seed), x, y, lr=0.1)
        start = time.process_time()
        found = rebuild(seen)

        assert time.process_time() - start < seconds
        assert error(found, x).max() < 1e-10
        assert found.stopped == "converged"
        assert found.details["certified"] == size


def test_one_live_unit_is_saturated_unless_one_example_is_told(digits, observe):
    """Any batch has rank 1 then, and its mean fits as one example would."""
    model = net(64, 3, 10)
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([5.0, -50.0, -50.0]))
    seen = observe(model, digits[0][:2], digits[1][:2])
    unknown = replace(seen, knowledge=replace(seen.knowledge, batch_size=None))

    with pytest.raises(PluginError, match="all that 1 live units"):
        Spear().reconstruct([unknown], generator(0, "attack"))
    assert Spear().reconstruct([seen], generator(0, "attack")).stopped == "not_certified"
    one = observe(model, digits[0][:1], digits[1][:1])
    assert Spear().reconstruct([one], generator(0, "attack")).stopped == "converged"
