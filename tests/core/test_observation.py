"""An observation's own arithmetic, and the noise floor of float32 updates (leakage additions, A)."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, noise_floor, rounding
from gauntlet.core.seeds import generator, seeded_torch

ONE = LeakageKnowledge(batch_size=1, local_steps=1, lr=0.5)


def observation(model, update, **facts):
    given = {"knowledge": ONE, **facts}
    return Observation(0, 0, model, Layout.of(model), b"", update, (2,), 2, (0.0, 1.0), **given)


def small():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -4.0], [1.0, 1.0]]))
        model.bias.copy_(torch.tensor([0.0, 0.0]))
    return model


def test_the_floor_is_two_to_the_minus_24_times_the_size_of_each_tensor():
    """By hand: (3, -4, 1, 1) moves to (4, -3, 0, 0), whose root mean square is 2.5."""
    seen = observation(small(), torch.tensor([1.0, 1.0, -1.0, -1.0, 0.0, 0.0]))

    assert noise_floor(seen) == {"weight": pytest.approx(2.5 * 2**-24), "bias": 0.0}
    four = replace(seen, knowledge=replace(ONE, local_steps=4))
    assert noise_floor(four)["weight"] == pytest.approx(5.0 * 2**-24)
    nine = replace(seen, kind="aggregate", contributors=9, update=9 * seen.update)
    assert noise_floor(nine)["weight"] == pytest.approx(7.5 * 2**-24)
    assert noise_floor(replace(seen, kind="gradient")) == {"weight": pytest.approx(2**-24), "bias": 0.0}


@pytest.mark.parametrize(("lr", "published"), [(1.0, 2.2e-7), (0.1, 1.6e-6), (0.01, 1.6e-5)])
def test_the_measured_rounding_of_an_update_lies_just_below_the_floor(lr, published):
    """Additions A, measured: the MLP 784-200-200-10 on 4 examples; noise over gradient, by step size."""
    stream = generator(0, "floor")
    with seeded_torch(stream):
        model = nn.Sequential(
            nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
        )
    x, y = torch.from_numpy(stream.random((4, 784))).float(), torch.tensor([0, 1, 2, 3])
    exact = model.double()
    loss = functional.cross_entropy(exact(x.double()), y)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(exact.parameters()))])
    model = exact.float()
    layout = Layout.of(model)
    before = layout.flatten(dict(model.named_parameters()))
    update = (before - lr * gradient.float()) - before

    noise = layout.views(update.double() + lr * gradient)
    floor = noise_floor(observation(model, update, knowledge=replace(ONE, lr=lr)))
    for name, values in noise.items():
        assert 0.25 * floor[name] < float(values.square().mean().sqrt()) < floor[name], name
    relative = float(torch.cat([v.reshape(-1) for v in noise.values()]).norm() / (lr * gradient.norm()))
    assert published / 4 < relative < published * 4  # other images, so that only the size is the same


@pytest.mark.parametrize("size", [1, 8, 32])
def test_the_rounding_of_a_gradient_is_that_of_its_sums_over_the_batch(size):
    """Oracle: the same sums in float64, of the float32 inputs and slopes whose products they add up."""
    stream = generator(0, "sums", size)
    slopes, x = (torch.from_numpy(stream.standard_normal((size, n))).float() for n in (40, 200))
    x *= torch.from_numpy(stream.random((size, 200)) < 0.5) * torch.linspace(0.1, 3.0, 200)
    model, exact = (
        nn.Linear(200, 40),
        {"weight": slopes.double().T @ x.double(), "bias": slopes.double().sum(0)},
    )
    (model(x) * slopes).sum().backward()
    layout = Layout.of(model)
    update = -torch.cat([model.weight.grad.reshape(-1), model.bias.grad])

    told = replace(ONE, batch_size=size, lr=1.0)
    seen = Observation(0, 0, model, layout, b"", update, (200,), 40, (0.0, 1.0), told, kind="gradient")
    expected = layout.views(rounding(seen))
    for name, values in layout.views(-update.double()).items():
        error, guess = (values - exact[name]).square().mean().sqrt(), expected[name].square().mean().sqrt()
        if size > 1 or name == "weight":
            assert 0.6 * error < guess < 2 * error, name
    alone = rounding(replace(seen, knowledge=replace(told, batch_size=None)))
    assert torch.equal(alone, rounding(replace(seen, knowledge=replace(told, batch_size=2))))


def test_what_was_sent_is_everything_unless_it_is_said():
    seen = observation(small(), torch.ones(6))
    assert seen.support.all()
    assert seen.support.shape == (6,)
    sparse = observation(small(), torch.ones(6), support=torch.tensor([True] * 2 + [False] * 4))
    assert int(sparse.support.sum()) == 2


def test_a_sum_over_clients_is_no_gradient():
    seen = observation(small(), torch.full((6,), 0.5))
    assert seen.gradient().tolist() == [-1.0] * 6
    with pytest.raises(ValueError, match=r"local_steps = 1 of one client, got .* of 3"):
        replace(seen, kind="aggregate", contributors=3).gradient()
    summed = replace(seen, kind="aggregate", contributors=3, counted=5.0)
    assert summed.mean_gradient().tolist() == pytest.approx([-0.2] * 6)
    assert seen.mean_gradient().tolist() == [-1.0] * 6


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"kind": "weights"}, "kind must be one of update, gradient, aggregate, got 'weights'"),
        ({"contributors": 2}, "contributors must be 1 of one update, got 2"),
        ({"kind": "aggregate", "contributors": 0}, "got 0"),
        ({"counted": 2.0}, "counted must be above 0, and 1 of one update; got 2.0"),
        ({"kind": "aggregate", "contributors": 2, "counted": 0.0}, "counted must be above 0"),
    ],
)
def test_a_message_that_cannot_be_is_refused(facts, words):
    with pytest.raises(ValueError, match=words):
        observation(small(), torch.ones(6), **facts)
