"""tpSGD. Oracles: the delta rule by hand, one step of time, kernels as large as pictures, decay."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gauntlet.clients.algorithms.parts.stages import fixed_matrix
from gauntlet.clients.algorithms.tpsgd import TpSGD
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models.normalized import Normalized
from gauntlet.clients.models.recurrent import RnnLayer
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
X, Y = DATA.client(2)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def update(algorithm, model=None, **how):
    """Return by tensor the update of client 2 after one step of all its examples at lr .2, or as told."""
    model = model or net()
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    training = LocalTraining(**{"batch_size": 0, "lr": 0.2, **how})
    kernel = BlockKernel(DATA, model, algorithm, training, NoPrivacy(), (), 7)
    trained = kernel.train(Broadcast(1, params, torch.zeros(0)), np.array([2]))
    return layout.views(trained.updates.vectors[0]), float(trained.losses[0])


def targets(number, width):
    return F.one_hot(Y, 3).float() @ (0.8 * fixed_matrix(0, "targets", number, width, 3).sign()).t()


@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_hidden_layers_take_the_delta_rules_step_towards_their_target(loss):
    """W += lr / B sum d x' with d = (P y - a)(1 - a^2), or with the sign, on inputs before the step."""
    found, reported = update(TpSGD(loss=loss))
    model = net()
    h = X
    with torch.no_grad():
        for number, at in enumerate((0, 2)):
            a = torch.tanh(model[at](h))
            off = targets(number, a.shape[1]) - a
            d = (off if loss == "l2" else off.sign()) * (1 - a**2)
            torch.testing.assert_close(found[f"{at}.weight"], 0.2 * d.t() @ h / 12)
            torch.testing.assert_close(found[f"{at}.bias"], 0.2 * d.mean(0))
            h = a
    last = F.cross_entropy(model[4](h), Y)
    gradient = torch.autograd.grad(last, model[4].weight)[0]
    torch.testing.assert_close(found["4.weight"], -0.2 * gradient)
    assert reported == pytest.approx(float(last.detach()))


def test_frozen_hidden_layers_are_the_control():
    found, _ = update(TpSGD(freeze_hidden=True), local_steps=3)
    assert all(bool((found[f"{at}.{what}"] == 0).all()) for at in (0, 2) for what in ("weight", "bias"))
    assert bool((found["4.weight"] != 0).any())


def test_without_targets_outputs_decay():
    """P = 0 and the squared loss: d = -a (1 - a^2)."""
    a = torch.rand(7, 4, requires_grad=True)
    tiny = TpSGD(scale=1e-30).layer_loss(0, a, torch.eye(3)[[0, 1, 2, 0, 1, 2, 0]])
    torch.testing.assert_close(torch.autograd.grad(tiny, a)[0], a.detach() / 7)


def test_a_kernel_as_large_as_the_picture_and_one_step_of_time_are_the_dense_rule():
    torch.manual_seed(1)
    x, labels = torch.rand(12, 5), F.one_hot(Y, 3).float()
    dense, convolution, recurrent = nn.Linear(5, 4), nn.Conv2d(1, 4, (1, 5)), RnnLayer(5, 4, "tanh")
    weights = (dense.weight, convolution.weight, recurrent.weight_ih)
    with torch.no_grad():
        for weight in weights[1:]:
            weight.copy_(dense.weight.view_as(weight))
        convolution.bias.copy_(dense.bias)
        recurrent.bias_ih.copy_(dense.bias)
    outs = (
        torch.tanh(dense(x)),
        torch.tanh(convolution(x.view(12, 1, 1, 5))),
        recurrent.states(x[:, None], cut=True),
    )
    found = []
    for out, weight in zip(outs, weights, strict=True):
        loss = TpSGD().layer_loss(0, out, labels, steps=weight is recurrent.weight_ih)
        found.append(torch.autograd.grad(loss, weight)[0].flatten())
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_a_recurrent_layer_passes_no_gradient_through_time():
    """dU = sum over t of d_t h_(t-1)' by hand, h_(t-1) a constant; and that cutting leaves the states."""
    torch.manual_seed(2)
    layer, x, labels = RnnLayer(2, 3, "tanh"), torch.rand(12, 4, 2), F.one_hot(Y, 3).float()
    h = layer.states(x, cut=True)
    assert torch.equal(h, layer.states(x))
    assert torch.equal(h[:, -1], layer(x))
    found = torch.autograd.grad(TpSGD().layer_loss(0, h, labels, steps=True), layer.weight_hh)[0]
    h = h.detach()
    d = (targets(0, 3)[:, None] - h) * (1 - h**2)
    expected = -sum(d[:, t].t() @ h[:, t - 1] for t in range(1, 4)) / 12
    torch.testing.assert_close(found, expected)


def test_of_a_recurrent_layers_last_state_the_gradient_goes_through_its_own_steps_alone():
    """By autograd on the recursion written out, of two layers, of which the first is told nothing."""
    torch.manual_seed(3)
    before, layer, head = nn.Linear(5, 6), RnnLayer(2, 4, "tanh"), nn.Linear(4, 3)
    model = nn.Sequential(before, nn.Tanh(), nn.Unflatten(1, (3, 2)), layer, head)
    found, _ = update(TpSGD(recurrent="last", weight=0.5), model)
    h = None
    x = torch.tanh(before(X)).view(12, 3, 2).detach()
    for t in range(3):
        z = x[:, t] @ layer.weight_ih.t() + layer.bias_ih
        h = torch.tanh(z if h is None else z + h @ layer.weight_hh.t())
    value = (targets(1, 4) - h).square().sum() / 2 / 12
    own = (layer.weight_ih, layer.weight_hh, layer.bias_ih)
    for name, gradient in zip(
        ("weight_ih", "weight_hh", "bias_ih"), torch.autograd.grad(value, own), strict=True
    ):
        torch.testing.assert_close(found[f"3.{name}"], -0.1 * gradient)
    a = torch.tanh(X @ before.weight.t() + before.bias).detach()
    d = (targets(0, 6) - a) * (1 - a**2)
    torch.testing.assert_close(found["0.weight"], 0.1 * d.t() @ X / 12)


def test_a_model_of_one_layer_takes_fedavgs_step_and_inputs_are_normalised():
    torch.manual_seed(0)
    found, _ = update(TpSGD(), Normalized(nn.Sequential(nn.Linear(5, 3)), (0.5,) * 5, (2.0,) * 5))
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    gradient = torch.autograd.grad(F.cross_entropy(layer((X - 0.5) / 2), Y), layer.weight)[0]
    torch.testing.assert_close(found["net.0.weight"], -0.2 * gradient)


def test_of_one_example_the_first_layer_gives_the_input_away():
    """dW[j] / db[j] = x, as under back-propagation."""
    found, _ = update(TpSGD(), batch_size=1, local_steps=1)
    rows = found["0.weight"] / found["0.bias"][:, None]
    nearest = (X[:, None] - rows).abs().amax(2).min(0).values
    assert float(nearest.max()) < 1e-3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"loss": "l3"}, "loss must be l2 or l1, got 'l3'"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"weight": 0.0}, "weight must be above 0 and finite, got 0.0"),
        ({"recurrent": "none"}, "recurrent must be steps or last, got 'none'"),
        ({"target_seed": -1}, "target_seed must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        TpSGD(**options)
