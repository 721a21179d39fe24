"""Oracle: the closed form x = dW_i / db_i (leakage specification 6.1), and the true image itself."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.bias_trick import BiasTrick
from gauntlet.attacks.leakage.parts.metrics import mse
from gauntlet.core.errors import PluginError
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.seeds import generator


class Normalised(nn.Module):
    """A model that normalises its inputs itself, as the package's image models do."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x - 0.3) / 0.25)


def rebuild(observation):
    return BiasTrick().reconstruct([observation], generator(0, "attack"))


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.ReLU, nn.Tanh])
def test_one_digit_comes_back_with_an_error_below_1e_10(digits, mlp, observe, activation):
    """Leakage specification, section 12: "bias trick MSE < 1e-10" in float32."""
    x, y = digits
    for i in range(10):
        found = rebuild(observe(mlp(activation, seed=i), x[i : i + 1], y[i : i + 1]))

        assert mse(found.x, x[i : i + 1]).item() < 1e-10
        assert found.y.tolist() == [int(y[i])]
        assert found.stopped == "closed_form"


def test_logistic_regression_gives_its_input_away(digits, observe):
    x, y = digits
    torch_model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(torch_model[1].weight)
    nn.init.zeros_(torch_model[1].bias)

    found = rebuild(observe(torch_model, x[3:4], y[3:4]))

    assert mse(found.x, x[3:4]).item() < 1e-10
    assert found.y.tolist() == [3]


def test_a_hand_calculated_gradient_gives_the_input(observe):
    """x = [0.5, 0.25]; W = 0, so p = 1/10, db = p - 1[y=2], dW = db x^T: divided, x again."""
    model = nn.Linear(2, 10)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    observation = observe(model, torch.tensor([[0.5, 0.25]]), torch.tensor([2]), lr=1.0)
    db = torch.full((10,), 0.1)
    db[2] = -0.9
    expected = -torch.cat([torch.outer(db, torch.tensor([0.5, 0.25])).reshape(-1), db])
    torch.testing.assert_close(observation.update, expected)

    found = rebuild(observation)

    torch.testing.assert_close(found.x, torch.tensor([[0.5, 0.25]]))
    assert found.y.tolist() == [2]


def test_the_models_own_normalisation_is_undone(digits, mlp, observe):
    x, y = digits

    found = rebuild(observe(Normalised(mlp()), x[:1], y[:1]))

    assert mse(found.x, x[:1]).item() < 1e-10


def test_the_step_size_cancels(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])
    louder = replace(
        observation, update=observation.update * 4, knowledge=LeakageKnowledge(batch_size=1, local_steps=1)
    )

    torch.testing.assert_close(rebuild(louder).x, rebuild(observation).x, rtol=0, atol=0)


@pytest.mark.parametrize("lr", [1.0, 0.1, 0.01, 0.001])
def test_the_predicted_error_bounds_the_one_that_rounding_leaves(digits, mlp, observe, lr):
    """Leakage additions, A: the floor bounds what rounding does to each entry of a message."""
    x, y = digits
    for i in range(3):
        found = rebuild(observe(Normalised(mlp(seed=i)), x[i : i + 1], y[i : i + 1], lr=lr))
        predicted = found.details["predicted_mse"]

        assert predicted / 40 < mse(found.x, x[i : i + 1]).item() < predicted


def test_all_neurons_together_beat_the_loudest_one_under_noise(digits, mlp, observe):
    """The reason for least squares: the noise of 64 neurons averages out."""
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1], noise_std=1e-3)
    views = observation.layout.views(observation.update)
    loudest = views["1.bias"].abs().argmax()
    alone = (views["1.weight"][loudest] / views["1.bias"][loudest]).reshape(1, 1, 8, 8)

    assert mse(rebuild(observation).x, x[:1]) < mse(alone, x[:1]) / 2


def test_the_cost_tells_a_true_gradient_from_a_noisy_one(digits, mlp, observe):
    x, y = digits

    assert rebuild(observe(mlp(), x[:1], y[:1])).cost < 1e-9
    assert rebuild(observe(mlp(), x[:1], y[:1], noise_std=1e-2)).cost > 1e-3


def test_a_client_that_sent_nothing_is_reported_as_nan(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])

    assert rebuild(replace(observation, update=torch.zeros_like(observation.update))).stopped == "nan"


def test_two_examples_are_refused(digits, mlp, observe):
    x, y = digits

    with pytest.raises(PluginError, match="batch_size = 2"):
        rebuild(observe(mlp(), x[:2], y[:2]))


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 8, bias=False), nn.Linear(8, 10)), "with a bias"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), "starts with Conv2d"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)), "all 64 values"),
        (nn.Sequential(nn.Flatten(), nn.Softmax(dim=1), nn.Linear(64, 10)), "affine"),
        (nn.Sequential(nn.Flatten(), nn.Sigmoid(), nn.Linear(64, 10)), "affine"),
    ],
)
def test_a_model_that_does_not_start_with_a_plain_biased_linear_layer_is_refused(
    digits, observe, model, complaint
):
    x, y = digits

    with pytest.raises(PluginError, match=complaint):
        rebuild(observe(model, x[:1], y[:1]))


def test_a_known_label_is_taken_and_changes_no_value(digits, mlp, observe):
    """Another label than the true one, so that it cannot have been read."""
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])
    other = (int(y[0]) + 1) % 10

    found = rebuild(replace(observation, knowledge=replace(observation.knowledge, labels=(other,))))

    assert found.y.tolist() == [other]
    assert torch.equal(found.x, rebuild(observation).x)


def test_a_first_layer_that_is_used_twice_is_refused(digits, observe):
    x, y = digits

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x):
            return self.head(self.body(self.body(x.flatten(1)).sigmoid()))

    with pytest.raises(PluginError, match="a first layer that is used once, it is used 2 times"):
        rebuild(observe(Twice(), x[:1], y[:1]))


@pytest.mark.parametrize("rank", [2, 16])
def test_a_projection_of_the_inputs_leaves_no_residual_and_is_not_certified(digits, mlp, observe, rank):
    """dW B B^T is of rank 1 as dW is: the picture that fits it is another one."""
    x, y = digits[0][:1], digits[1][:1]
    observation = observe(mlp(nn.Sigmoid, seed=0), x, y)
    basis = torch.linalg.qr(torch.randn(64, rank, generator=torch.Generator().manual_seed(0))).Q
    update = observation.update.clone()
    weight = next(v for v in observation.layout.views(update).values() if v.ndim == 2)
    weight.copy_(weight @ basis @ basis.T)

    found = rebuild(replace(observation, update=update, lossy=True))

    assert found.cost < 1e-6
    assert mse(found.x, x).item() > 1e-3
    assert found.stopped == "not_certified"


@pytest.mark.parametrize(
    ("told", "stopped"), [("none", "closed_form"), ("soteria", "not_certified"), (None, "not_certified")]
)
def test_inputs_that_clients_may_have_hidden_are_not_certified(digits, mlp, observe, told, stopped):
    """A column of 0 is a black pixel, or a hidden one: no residual says which."""
    observation = observe(mlp(nn.Sigmoid, seed=0), digits[0][:1], digits[1][:1])
    weight = next(v for v in observation.layout.views(observation.update).values() if v.ndim == 2)
    assert (weight == 0).all(dim=0).any()
    knowledge = replace(observation.knowledge, client_defense=told)

    assert rebuild(replace(observation, knowledge=knowledge)).stopped == stopped
