"""Direct feedback alignment. Oracles: back-propagation on linear layers, the rule by hand, the bias trick."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gauntlet.clients.algorithms.dfa import DFA, fed_back
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
X, Y = DATA.client(2)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def updates(algorithm, round_=1, frozen=(), **how):
    """Return by tensor the updates [2, ...] of clients 1 and 2 after a step, lr .2, of all examples."""
    model = net()
    for n in frozen:
        model[n].requires_grad_(False)
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    training = LocalTraining(**{"batch_size": 0, "lr": 0.2, **how})
    kernel = BlockKernel(DATA, model, algorithm, training, NoPrivacy(), (), 7)
    return layout.views(
        kernel.train(Broadcast(round_, params, torch.zeros(0)), np.array([1, 2])).updates.vectors
    )


def test_fed_back_through_the_weights_of_linear_layers_it_is_back_propagation():
    """B_l = W_(l+1)' ... W_L' and no activation: the same gradients, in float64."""
    torch.manual_seed(0)
    layers = [nn.Linear(*shape).double() for shape in ((5, 4), (4, 6), (6, 3))]
    model, x = nn.Sequential(*layers), X.double()
    loss = F.cross_entropy(model(x), Y)
    expected = torch.autograd.grad(loss, [layer.weight for layer in layers])
    h, outs = x, []
    for layer in layers[:-1]:
        outs.append(layer(h))
        h = outs[-1].detach()
    logits = layers[-1](h)
    errors = torch.autograd.grad(F.cross_entropy(logits, Y), logits)[0]
    w2, w3 = layers[1].weight.detach(), layers[2].weight.detach()
    number = fed_back(outs, [w2.t() @ w3.t(), w3.t()], errors)
    found = torch.autograd.grad(number, [layer.weight for layer in layers[:-1]])
    for one, other in zip(found, expected[:-1], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frozen", [[0], [2], [4], [0, 4]])
def test_a_frozen_layer_changes_nothing_of_the_other_layers_step(frozen):
    """No gradient passes from layer to layer: the same bits. The error is of the outputs alone."""
    whole, found = updates(DFA()), updates(DFA(), frozen=frozen)

    assert set(found) == {name for name in whole if int(name[0]) not in frozen}
    assert all(torch.equal(step, whole[name]) and step.any() for name, step in found.items())


@pytest.mark.parametrize("binarize", [False, True])
def test_a_step_is_the_rules_by_hand(binarize):
    """dW_l = ((B e) f'(z))' a, e = (softmax - y) / n or its signs over n; the last layer's is true."""
    algorithm = DFA(binarize=binarize)
    found = {name: rows[1] for name, rows in updates(algorithm).items()}
    model = net()
    with torch.no_grad():
        a1 = torch.tanh(model[0](X))
        a2 = torch.tanh(model[2](a1))
        e = (model[4](a2).softmax(1) - F.one_hot(Y, 3)) / 12
        fed = e.sign() / 12 if binarize else e
        d1 = fed @ algorithm.matrix(0, 0, 4, 3).t() * (1 - a1**2)
        d2 = fed @ algorithm.matrix(0, 1, 6, 3).t() * (1 - a2**2)
        torch.testing.assert_close(found["0.weight"], -0.2 * d1.t() @ X)
        torch.testing.assert_close(found["2.weight"], -0.2 * d2.t() @ a1)
        torch.testing.assert_close(found["2.bias"], -0.2 * d2.sum(0))
        torch.testing.assert_close(found["4.weight"], -0.2 * e.t() @ a2)


def test_a_secret_matrix_is_the_clients_own_and_stays():
    """Another update of hidden layers, the same of the last, and the same again in another round."""
    shared = updates(DFA())
    first, later = updates(DFA(feedback="secret")), updates(DFA(feedback="secret"), round_=5)
    assert not torch.allclose(first["0.weight"], shared["0.weight"])
    torch.testing.assert_close(first["0.weight"], later["0.weight"])
    assert torch.equal(first["4.weight"], shared["4.weight"])


def test_of_one_example_the_first_layer_gives_the_input_away_whatever_is_fed_back():
    """dW[j] / db[j] = x."""
    for algorithm in (DFA(), DFA(feedback="secret"), DFA(binarize=True)):
        found = updates(algorithm, batch_size=1, local_steps=1)
        rows = found["0.weight"][1] / found["0.bias"][1][:, None]
        nearest = (X[:, None] - rows).abs().amax(2).min(0).values
        assert float(nearest.max()) < 1e-3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scale": 0.0}, "scale must be above 0"),
        ({"feedback": "own"}, "feedback must be shared or secret, got 'own'"),
        ({"feedback_seed": -1}, "feedback_seed must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        DFA(**options)
