"""Randomised backward passes. Oracles: the exact product, closed forms of variances, and the bias trick."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.parts.replaced import replaced
from gauntlet.clients.algorithms.randomized_backward import RandomizedBackward, _forward
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models.lora import Lora
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

STREAM = np.random.default_rng(0)
X, Y = STREAM.standard_normal((32, 7)), STREAM.standard_normal((32, 5))
SIZES = (X**2).sum(1) * (Y**2).sum(1)
EXPECTED = {
    "gauss": ((X**2).sum() * (Y**2).sum() + ((X.T @ Y) ** 2).sum()) / 8,
    "rademacher": ((X**2).sum() * (Y**2).sum() + ((X.T @ Y) ** 2).sum() - 2 * SIZES.sum()) / 8,
    "rows": (32 * SIZES.sum() - ((X.T @ Y) ** 2).sum()) / 8,
}


@pytest.mark.parametrize("sketch", list(EXPECTED))
def test_products_are_right_on_average_and_vary_as_the_closed_form_says(sketch):
    """k = 8 of 32, 7 to 5: 4767.7 (normals), 4473.7 (signs). 4000 draws: 3 % and 4 standard errors."""
    draws = [RandomizedBackward(sketch=sketch).drawn(STREAM, 32).double().numpy() for _ in range(4000)]
    found = np.stack([(s.T @ Y).T @ (s.T @ X) for s in draws])
    off = found - Y.T @ X
    variance = (off**2).sum((1, 2))
    assert variance.mean() == pytest.approx(EXPECTED[sketch], rel=0.05)
    assert np.abs(off.mean(0)).max() < 4.5 * off.std(0).max() / np.sqrt(4000)


def test_the_closed_forms_are_the_numbers_of_an_independent_program():
    assert EXPECTED["gauss"] == pytest.approx(4767.7, abs=0.1)
    assert EXPECTED["rademacher"] == pytest.approx(4473.7, abs=0.1)


def test_gradients_of_inputs_and_biases_are_exact_and_that_of_weights_is_the_sketchs():
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 3).double(), torch.rand(6, 2, 4).double().requires_grad_()
    sketch, model = torch.randn(12, 5).double(), nn.Sequential(layer)
    with replaced(model, {"0": partial(_forward, layer, lambda rows: sketch[:rows])}):
        y = model(x)
    weigh = torch.rand_like(y)
    dx, dw, db = torch.autograd.grad((y * weigh).sum(), [x, layer.weight, layer.bias])
    exact = torch.autograd.grad((model(x) * weigh).sum(), [x, layer.weight, layer.bias])
    torch.testing.assert_close(dx, exact[0])
    torch.testing.assert_close(db, exact[2])
    rows, inputs = weigh.flatten(0, 1), x.detach().flatten(0, 1)
    torch.testing.assert_close(dw, rows.t() @ sketch @ sketch.t() @ inputs)
    assert not torch.allclose(dw, exact[1])
    assert torch.equal(y, model(x))


def trained(algorithm, model=None, **how):
    data = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    kernel = BlockKernel(data, model, algorithm, LocalTraining(**how), NoPrivacy(), (), 7)
    sent = kernel.train(Broadcast(1, params, torch.zeros(0)), np.array([1, 2])).updates.vectors
    return layout.views(sent), data.client(2)


def test_a_step_moves_weights_at_random_and_biases_as_fedavg_does():
    found, (x, y) = trained(RandomizedBackward(), batch_size=0, lr=0.2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    F.cross_entropy(model(x), y).backward()
    for name, parameter in model.named_parameters():
        exact = torch.allclose(found[name][1], -0.2 * parameter.grad, atol=1e-6)
        assert exact == name.endswith("bias"), name


def test_of_one_example_the_first_layer_gives_the_input_away():
    """S is one number of size 1: dW[j] / db[j] = x."""
    found, (x, _) = trained(RandomizedBackward(share=0.1), batch_size=1, local_steps=1)
    rows = found["0.weight"][1] / found["0.bias"][1][:, None]
    assert float((x[:, None] - rows).abs().amax(2).min(0).values.max()) < 1e-3


def test_adapters_are_sketched_and_stay_in_the_pass(monkeypatch):
    """With S = 1 the products are exact: an update is fedavg's."""
    monkeypatch.setattr(RandomizedBackward, "drawn", lambda _, __, rows: torch.eye(rows))
    model = Lora(of={"name": "mlp", "hidden": [8]}, rank=2).build((5,), 3)
    nn.init.normal_(model.get_submodule("1.lora_up").weight)
    found, wanted = (trained(a, model, batch_size=0, lr=0.2)[0] for a in (RandomizedBackward(), FedAvg()))
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name])
        assert bool(value.any()) == (name != "3.lora_down.weight")  # behind an up that is zero


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"share": 0.0}, "share must be above 0 and at most 1, got 0.0"),
        ({"sketch": "fft"}, "sketch must be one of rademacher, gauss, rows; got 'fft'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        RandomizedBackward(**options)
