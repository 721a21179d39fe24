"""Projected guesses. Oracles: true gradients by autograd, of which a projection has three properties."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gauntlet.clients.algorithms.local_guess import LocalGuess
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models.mlp import Mlp
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
X, Y = DATA.client(2)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def trained(algorithm, memory, model=None, data=DATA, client=2, **how):
    """Return by tensor the update [P] of a client and what it remembers, after one step of all examples."""
    model = model or net()
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    training = LocalTraining(**{"batch_size": 0, "lr": 1.0, **how})
    kernel = BlockKernel(data, model, algorithm, training, NoPrivacy(), (), 7)
    sent = kernel.train(Broadcast(1, params, torch.zeros(0), memory=memory), np.array([client]))
    return layout.views(sent.updates.vectors[0]), kernel.exchange.memory.views(sent.memory[0])


def heads():
    """Heads [3, 4 + 1] and [3, 6 + 1], drawn."""
    return torch.randn(1, 15 + 21, generator=torch.Generator().manual_seed(0))


def gradients(model, x=X, y=Y):
    loss = F.cross_entropy(model(x), y)
    names = dict(model.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, names.values()), strict=True))


@pytest.mark.parametrize("guess", ["head", "random"])
def test_a_step_is_the_true_gradients_projection_on_the_guess(guess):
    """Never against G*, never longer, and <g, G*> = |g|^2; the last layer has its own gradient."""
    found, _ = trained(LocalGuess(guess), heads())
    true = gradients(net())
    for layer in (0, 2):
        names = (f"{layer}.weight", f"{layer}.bias")
        g = torch.cat([-found[name].flatten() for name in names])
        star = torch.cat([true[name].flatten() for name in names])
        torch.testing.assert_close(g @ star, g @ g)
        assert 0 < float(g.norm()) < float(star.norm())
    for name in ("4.weight", "4.bias"):
        torch.testing.assert_close(-found[name], true[name])


def test_a_guess_is_the_gradient_of_the_layers_own_head_which_is_trained_too():
    """By hand for the second layer, from constant inputs; of the head its own step."""
    found, kept = trained(LocalGuess(), heads())
    model, head = net(), heads()[0, 15:].view(3, 7).requires_grad_()
    a1 = torch.tanh(model[0](X)).detach()
    a2 = torch.tanh(model[2](a1))
    own = F.cross_entropy(a2 @ head[:, :-1].t() + head[:, -1], Y)
    guess, step = torch.autograd.grad(own, [model[2].weight, head])
    found = -found["2.weight"]
    cosine = (found * guess).sum() / found.norm() / guess.norm()
    assert abs(float(cosine)) == pytest.approx(1, abs=1e-5)  # backwards, where the guess points against G*
    torch.testing.assert_close(kept["head/2.weight"], (head - step).detach())


def test_a_guess_along_the_true_gradient_is_the_true_gradient():
    """One hidden layer whose head is the last layer itself: G = G*."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    head = torch.cat([model[2].weight, model[2].bias[:, None]], dim=1).detach().reshape(1, -1)
    true = gradients(model)
    found, _ = trained(LocalGuess(), head, model)
    for name, gradient in true.items():
        torch.testing.assert_close(-found[name], gradient)


def test_an_untrained_head_moves_no_hidden_layer():
    found, kept = trained(LocalGuess(), torch.zeros(1, 36))
    assert not any(bool(found[f"{n}.{what}"].any()) for n in (0, 2) for what in ("weight", "bias"))
    assert bool(kept["head/0.weight"].any())


def test_a_trained_heads_guess_is_close_to_the_truth():
    """MLP 20-64-64-64-10, 100 steps of 64 at .2: a cosine above .5; a random guess has .02."""
    x = torch.randn(512, 20, generator=torch.Generator().manual_seed(0))
    y = x[:, :10].argmax(1)

    class One:
        name, num_clients, num_classes, input_shape = "one", 1, 10, (20,)

        def client(self, _):
            return x, y

        def num_examples(self, _):
            return len(y)

    torch.manual_seed(0)
    model = Mlp((64, 64, 64), "tanh").build((20,), 10)
    memory = torch.zeros(1, 3 * 10 * 65)
    how = {"model": model, "data": One(), "client": 0, "batch_size": 64, "local_steps": 100, "lr": 0.2}
    start = Layout.of(model).flatten(dict(model.named_parameters()))
    found, kept = trained(LocalGuess(), memory, **how)
    with torch.no_grad():
        for (name, parameter), begun in zip(
            model.named_parameters(), Layout.of(model).views(start).values(), strict=True
        ):
            parameter.copy_(begun + found[name])
    true = gradients(model, x, y)["1.weight"]
    head = kept["head/1.weight"]
    a = torch.tanh(model[1](x))
    guess = torch.autograd.grad(F.cross_entropy(a @ head[:, :-1].t() + head[:, -1], y), model[1].weight)[0]
    cosine = float((guess * true).sum() / guess.norm() / true.norm())
    assert cosine > 0.5


def test_convolutions_have_heads_on_the_mean_over_pixels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, (1, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))

    class Pictures:
        name, num_clients, num_classes, input_shape = "pictures", 1, 3, (1, 1, 5)

        def client(self, _):
            return X.view(12, 1, 1, 5), Y

        def num_examples(self, _):
            return 12

    head = torch.randn(1, 15, generator=torch.Generator().manual_seed(0))
    true = gradients(model, X.view(12, 1, 1, 5))
    found, _ = trained(LocalGuess(), head, model, Pictures(), 0)
    weight = head.view(3, 5)
    a = F.relu(model[0](X.view(12, 1, 1, 5))).mean((2, 3))
    own = F.cross_entropy(a @ weight[:, :-1].t() + weight[:, -1], Y)
    guess = torch.cat([g.flatten() for g in torch.autograd.grad(own, [model[0].weight, model[0].bias])])
    g, star = (torch.cat([of["0.weight"].flatten(), of["0.bias"]]) for of in (found, true))
    torch.testing.assert_close(-g, (guess @ star) / (guess @ guess) * guess)


def test_an_unknown_guess_is_refused():
    with pytest.raises(ValueError, match="guess must be head or random, got 'ntk'"):
        LocalGuess("ntk")
