"""PRECODE beside its definition."""

import copy
from math import log

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from gauntlet.clients.client_defenses.precode import Precode
from gauntlet.core.errors import PluginError

X, Y = torch.rand(5, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 4


def test_the_bottleneck_stands_before_the_last_linear_layer(net):
    shapes = {name: tuple(p.shape) for name, p in Precode(width=7).wrap(net).named_parameters()}
    assert shapes == {
        "1.weight": (12, 9),
        "1.bias": (12,),
        "3.precode.encoder.weight": (14, 12),
        "3.precode.encoder.bias": (14,),
        "3.precode.decoder.weight": (12, 7),
        "3.precode.decoder.bias": (12,),
        "3.precoded.weight": (4, 12),
        "3.precoded.bias": (4,),
    }


def test_it_draws_in_training_and_takes_the_mean_in_evaluation(net):
    """Mean and spread of many draws of the code: mu and softplus of the encoder's two halves."""
    wrapped = Precode(width=3).wrap(net)
    bottleneck = wrapped[3][0]
    codes = []
    bottleneck.decoder.register_forward_pre_hook(lambda _, given: codes.append(given[0].detach()))
    with torch.no_grad():
        features = wrapped[:3](X[:1])
        mean, spread = bottleneck.encoder(features).chunk(2, dim=1)
        wrapped.train()(X[:1].expand(20000, 1, 3, 3))
        drawn = codes.pop()
        assert torch.allclose(drawn.mean(dim=0), mean[0], atol=0.03)
        assert torch.allclose(drawn.std(dim=0), functional.softplus(spread)[0], rtol=0.03)
        wrapped.eval()(X[:1])
        assert torch.equal(codes.pop(), mean)


def test_the_gradient_is_that_of_the_loss_with_the_divergence_beside_it(net):
    """By torch.distributions: cross-entropy + beta KL(N(mu, sigma) || N(0, 1)) / ln 2."""
    beta = 0.3
    wrapped = Precode(width=3, beta=beta).wrap(net).eval()
    plain = copy.deepcopy(wrapped)
    plain[3][0].beta = 0.0
    found = torch.autograd.grad(functional.cross_entropy(wrapped(X), Y), list(wrapped.parameters()))

    mean, spread = plain[3][0].encoder(plain[:3](X)).chunk(2, dim=1)
    kl = kl_divergence(Normal(mean, functional.softplus(spread)), Normal(0.0, 1.0)).sum(dim=1).mean()
    loss = functional.cross_entropy(plain(X), Y) + beta * kl / log(2)
    for a, b in zip(found, torch.autograd.grad(loss, list(plain.parameters())), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def by_autograd(wrapped, x):
    """The gradient of the first layer's bias."""
    loss = functional.cross_entropy(wrapped(x), Y)
    return torch.autograd.grad(loss, wrapped[1].bias, create_graph=True)[0]


def by_functions(wrapped, x):
    """The same, of a stack of one."""

    def loss(bias, x):
        return functional.cross_entropy(functional_call(wrapped, {"1.bias": bias}, (x,)), Y)

    return vmap(grad(loss), (None, 0))(wrapped[1].bias, x[None])[0]


@pytest.mark.parametrize("gradient", [by_autograd, by_functions])
def test_it_can_be_differentiated_twice(net, gradient):
    """An attack needs that: beside finite differences."""
    wrapped = Precode(width=3, beta=0.3).wrap(net).double().eval()
    x = X.double().requires_grad_()
    (found,) = torch.autograd.grad(gradient(wrapped, x).sum(), x)
    moved = x.detach().clone()
    moved[2, 0, 1, 1] += 1e-6
    expected = (gradient(wrapped, moved) - gradient(wrapped, x)).sum().item() / 1e-6
    assert found[2, 0, 1, 1].item() == pytest.approx(expected, rel=1e-3)


def test_a_model_without_a_linear_layer_is_refused():
    with pytest.raises(PluginError, match="PRECODE needs a linear layer: '0' is Conv2d; linear layers: none"):
        Precode().wrap(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()))


@pytest.mark.parametrize("options", [{"width": 0}, {"beta": -1.0}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Precode(**options)
