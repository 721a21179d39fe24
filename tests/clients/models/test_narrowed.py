"""A model's leading channels. Oracles: widths by hand, torch's own layers, the whole model itself."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.models import MODELS, Normalized
from gauntlet.clients.models.narrowed import Scaler, narrowed
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout

IMAGE = (1, 20, 20)


def widths(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(slot.shape) for slot in Layout.of(model).parameters]


def test_the_scaler_divides_in_training_alone():
    """Spec 2.10: training output = input / r, eval output = input."""
    scaler, x = Scaler(0.25), torch.tensor([1.0, -3.0])

    assert scaler.train()(x).tolist() == [4.0, -12.0]
    assert scaler.eval()(x).tolist() == [1.0, -3.0]


def test_kept_widths_are_rounded_up_and_inputs_follow():
    """Spec 2.10: ceil, not round. Half of 5 is 3; behind Flatten, 3 of 5 channels are 3 * 9 of 45 inputs."""
    model = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 9, 7), nn.Tanh(), nn.Linear(7, 4)
    )
    part = narrowed(model, 0.5, (1, 5, 5))

    assert widths(part.model) == [(3, 1, 3, 3), (3,), (4, 27), (4,), (4, 4), (4,)]
    there = Layout.of(model).views(part.present)
    assert there["0.weight"].sum(dim=(1, 2, 3)).tolist() == [9, 9, 9, 0, 0]
    assert there["3.weight"].sum(dim=0).tolist() == [4] * 27 + [0] * 18
    assert there["3.weight"].sum(dim=1).tolist() == [27] * 4 + [0] * 3
    assert there["5.weight"].tolist() == [[True] * 4 + [False] * 3] * 4


def test_widths_that_floats_make_a_little_larger_are_not_rounded_up():
    """0.7 * 10 is 7.000000000000001 in floats; a rate of a thousandth keeps one unit."""
    model = nn.Sequential(nn.Linear(3, 10), nn.Linear(10, 2))

    assert widths(narrowed(model, 0.7, (3,)).model)[0] == (7, 3)
    assert widths(narrowed(model, 0.001, (3,)).model)[0] == (1, 3)


def test_a_narrow_network_is_torchs_own_with_its_outputs_divided():
    """By hand: relu(W x + b) / r, and no division behind the classifier."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).train()
    part, x = narrowed(model, 0.5, (4,)), torch.randn(5, 4)
    w1, b1, w2, b2 = (p.detach() for p in model.parameters())

    expected = torch.relu((x @ w1[:3].T + b1[:3]) / 0.5) @ w2[:, :3].T + b2
    torch.testing.assert_close(part.model(x), expected)
    plain = torch.relu(x @ w1[:3].T + b1[:3]) @ w2[:, :3].T + b2
    torch.testing.assert_close(narrowed(model, 0.5, (4,), scale=False).model(x), plain)


def test_rate_one_is_the_model_itself():
    model = MODELS.build("mcnn", {}).build(IMAGE, 10).train()
    part, x = narrowed(model, 1.0, IMAGE), torch.rand(2, *IMAGE)

    assert part.present.all()
    assert not any(isinstance(m, Scaler) for m in part.model.modules())
    assert torch.equal(part.model(x), model(x))
    assert [slot.name for slot in Layout.of(part.model).parameters] == [
        s.name for s in Layout.of(model).parameters
    ]


@pytest.mark.parametrize("rate", [0.5, 0.3])
@pytest.mark.parametrize(
    "name",
    [
        "logistic_regression",
        "mlp",
        "mcnn",
        "cnn_mcmahan",
        "lenet_mudhog",
        "cnn_mudhog_fashion",
        "lenet_sigmoid",
    ],
)
def test_shipped_models_are_the_whole_one_without_what_is_absent(name, rate):
    """Zeros in the place of absent parameters, as one masks them, give the same outputs in evaluation."""
    options = {"hidden": (20, 9), "activation": "sigmoid", "dropout": 0.1} if name == "mlp" else {}
    model = MODELS.build(name, options).build(IMAGE, 10)
    model = Normalized(model, (0.3,), (0.2,)).eval()
    part, x = narrowed(model, rate, IMAGE), torch.rand(3, *IMAGE)
    params = Layout.of(model).flatten(dict(model.named_parameters())) * part.present
    own = Layout.of(model).views(params)
    whole = torch.func.functional_call(model, own, (x,))

    torch.testing.assert_close(part.model(x), whole, atol=1e-5, rtol=1e-5)
    assert Layout.of(part.model).num_parameters == int(part.present.sum())


def test_group_norm_is_that_of_the_narrow_model():
    """Half of 8 channels in 2 groups: torch's own group norm of 4 channels, after the division by r."""
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8)
    nn.init.normal_(norm.weight)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 2)).train()
    part, x = narrowed(model, 0.5, (1, 5, 5)), torch.rand(2, 1, 5, 5)

    inside = nn.functional.conv2d(x, model[0].weight[:4], model[0].bias[:4]) / 0.5
    inside = nn.functional.group_norm(inside, 2, norm.weight[:4], norm.bias[:4])
    expected = torch.relu(inside).flatten(1) @ model[4].weight[:, :36].T + model[4].bias
    torch.testing.assert_close(part.model(x), expected)


class Turned(nn.Module):
    """Reverses the channels: the leading ones of its inputs are not those of its outputs."""

    def forward(self, x):
        return x.flip(1)


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        (
            [nn.ConvTranspose2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 49, 2)],
            "no rule for the channels of ConvTran",
        ),
        ([nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2)], "channels of BatchNorm2d"),
        (
            [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(36, 2)],
            "channels of Conv2d",
        ),
        (
            [nn.Conv2d(1, 4, 3), nn.GroupNorm(4, 4), nn.Flatten(), nn.Linear(36, 2)],
            "2 of 4 channels (rate 0.5) in 4",
        ),
        ([nn.Flatten(), nn.Linear(25, 4), nn.LayerNorm(4), nn.Linear(4, 2)], "channels of LayerNorm"),
        ([nn.Conv2d(1, 4, 3), Turned(), nn.Flatten(), nn.Linear(36, 2)], "a layer mixes or moves channels"),
        (
            [nn.Flatten(), nn.Linear(25, 4), nn.Unflatten(1, (2, 2)), nn.Flatten(), nn.Linear(4, 2)],
            "no narrow version",
        ),
    ],
    ids=["transposed", "batch norm", "grouped", "groups", "layer norm", "moved", "unflatten"],
)
def test_models_without_a_rule_are_refused_in_one_line(layers, complaint):
    with pytest.raises(ScenarioError) as caught:
        narrowed(nn.Sequential(*layers), 0.5, (1, 5, 5))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "shape"), [("resnet18_gn", (1, 16, 16)), ("lstm", (6, 3)), ("lora", (4,))])
def test_shipped_models_without_a_rule_are_refused(name, shape):
    with pytest.raises(ScenarioError, match="there is no rule for the channels of"):
        narrowed(MODELS.build(name, {}).build(shape, 2), 0.5, shape)


def test_what_is_kept_starts_as_the_whole_model_does():
    model = MODELS.build("mlp", {"hidden": (6,)}).build((4,), 3)
    part = narrowed(model, 0.5, (4,))
    params = Layout.of(model).flatten(dict(model.named_parameters()))
    own = Layout.of(part.model).flatten(dict(part.model.named_parameters()))

    np.testing.assert_array_equal(own, params[part.present])
