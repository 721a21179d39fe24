"""Per-example gradients against Opacus, against torch's own autograd one example at a time, and by hand."""

import pytest
import torch
from torch import nn

from gauntlet.clients.tracing.example_gradients import Outer, Positions, Written, squares_of
from gauntlet.clients.tracing.example_step import ExampleStep, layers_of
from gauntlet.core.seeds import generator, seeded_torch

CLASSES, BATCH = 5, 7


class Shared(nn.Module):
    """One dense layer called twice: its gradient has no factors of one call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Bare(nn.Module):
    """Parameters that belong to no layer, and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.out = nn.Parameter(torch.full((6,), 0.7)), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.out(x + torch.tanh(self.scale * x))


def cnn(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers), nn.Flatten(), nn.LazyLinear(CLASSES))


MODELS = {
    "dense": ((6,), lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, CLASSES)), True),
    "without bias": ((6,), lambda: nn.Linear(6, CLASSES, bias=False), True),
    "over positions": (
        (4, 6),
        lambda: nn.Sequential(nn.Linear(6, 30), nn.LayerNorm(30), nn.Flatten(), nn.Linear(120, CLASSES)),
        True,
    ),
    "small cnn": (
        (1, 28, 28),
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 20, 5), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, CLASSES)),
        ),
        True,
    ),
    "padded": ((2, 9, 8), cnn(lambda: nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0))), True),
    "same": ((8, 5, 5), cnn(lambda: nn.Conv2d(8, 3, (3, 5), padding="same")), True),
    "dilated": ((2, 9, 9), cnn(lambda: nn.Conv2d(2, 3, 3, dilation=2)), True),
    "wide": ((3, 4, 4), cnn(lambda: nn.Conv2d(3, 40, 3), lambda: nn.GroupNorm(4, 40)), True),
    "odd pooling": ((2, 9, 9), cnn(lambda: nn.Conv2d(2, 3, 3), lambda: nn.MaxPool2d((2, 3))), True),
    "overlapping pooling": ((2, 9, 9), cnn(lambda: nn.Conv2d(2, 3, 3), lambda: nn.MaxPool2d(3, 2)), True),
    "grouped": ((4, 5, 5), cnn(lambda: nn.Conv2d(4, 4, 3, groups=2)), False),
    "shared": ((6,), Shared, False),
    "bare": ((6,), Bare, False),
}


def made(name, clients=1):
    """Return a model, its stacked parameters, and a batch a client."""
    shape, make, _ = MODELS[name]
    with seeded_torch(generator(0, "model")):
        model = make()
        model(torch.zeros(2, *shape))
        x, y = torch.randn(clients, BATCH, *shape), torch.randint(0, CLASSES, (clients, BATCH))
        params = [p.detach() + 0.1 * torch.randn(clients, *p.shape) for p in model.parameters()]
    return model, params, x, y


def ours(model, params, x, y):
    step = ExampleStep(model, [name for name, _ in model.named_parameters()])
    targets = torch.zeros(*y.shape, CLASSES).scatter_(2, y[..., None], -1.0)
    with torch.no_grad():
        return step(params, x, targets)


def written(model, params, x, y):
    """Return every example's gradient by torch's autograd, one example and one client at a time."""
    found = [torch.zeros(len(x), BATCH, p[0].numel()) for p in params]
    for k in range(len(x)):
        for own, p in zip(model.parameters(), params, strict=True):
            own.data = p[k].clone()
        for n in range(BATCH):
            loss = nn.functional.cross_entropy(model(x[k, n : n + 1]), y[k, n : n + 1])
            for home, g in zip(found, torch.autograd.grad(loss, list(model.parameters())), strict=True):
                home[k, n] = g.flatten()
    return found


@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_norms_and_weighted_sums_are_those_of_every_example_alone(name, clients):
    """Oracle: autograd on one example at a time, to 1e-5 of the largest."""
    model, params, x, y = made(name, clients)
    gradients, losses = ours(model, params, x, y)
    expected = written(model, params, x, y)
    weights = torch.rand(clients, BATCH, generator=torch.Generator().manual_seed(1))

    assert len(gradients) == len(expected)
    for gradient, rows, p in zip(gradients, expected, params, strict=True):
        squares = rows.square().sum(dim=2)
        assert torch.allclose(
            gradient.squares().float(), squares, rtol=1e-4, atol=1e-5 * float(squares.max())
        )
        home = torch.ones_like(p)
        gradient.add_to(home, weights)
        total = 1 + (rows * weights[..., None]).sum(dim=1).view(p.shape)
        assert torch.allclose(home, total, rtol=1e-4, atol=1e-5 * float(total.abs().max()))
    alone = nn.functional.cross_entropy(model(x[-1]), y[-1], reduction="none")
    assert torch.allclose(losses[-1], alone, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_factors_are_used_where_they_are_known_and_nowhere_else(name):
    shape, _, known = MODELS[name]
    model = made(name)[0]

    assert (layers_of(model, [n for n, _ in model.named_parameters()], shape) is not None) == known


def test_every_way_to_hold_gradients_is_taken():
    kinds = {
        name: {type(getattr(g, "inner", g)) for g in ours(*made(name))[0]}
        for name in ("dense", "wide", "small cnn")
    }

    assert kinds == {
        "dense": {Outer, Written},
        "wide": {Positions, Written, Outer},
        "small cnn": {Outer, Written},
    }


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", ["dense", "small cnn"])
@pytest.mark.parametrize("functorch", [False, True])
def test_clipped_sums_are_those_of_opacus(name, functorch):
    """Oracle: opacus.GradSampleModule and the clipping of its DPOptimizer, on the same batch."""
    from opacus.grad_sample import GradSampleModule

    model, params, x, y = made(name)
    for own, p in zip(model.parameters(), params, strict=True):
        own.data = p[0].clone()
    theirs = GradSampleModule(model, loss_reduction="sum", force_functorch=functorch)
    nn.functional.cross_entropy(theirs(x[0]), y[0], reduction="sum").backward()
    rows = [p.grad_sample for p in theirs.parameters()]
    norms = torch.stack([row.flatten(1).norm(dim=1) for row in rows]).norm(dim=0)
    clip_norm = float(norms.median())
    factors = (clip_norm / (norms + 1e-6)).clamp(max=1.0)
    expected = [torch.einsum("n,n...->...", factors, row).detach() for row in rows]
    theirs.remove_hooks()

    gradients, squares = squares_of(ours(model.train(), params, x, y)[0])
    squares = squares.float()
    own = (clip_norm / squares.sum(dim=0).sqrt()).clamp(max=1.0)
    assert 0 < int((factors < 1).sum()) < BATCH
    assert torch.allclose(squares[:, 0].sum(dim=0).sqrt(), norms, rtol=1e-5)
    for gradient, total in zip(gradients, expected, strict=True):
        home = torch.zeros(1, *total.shape)
        gradient.add_to(home, own)
        assert torch.allclose(home[0], total, atol=1e-5 * float(total.abs().max()))


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("name", ["dense", "over positions", "small cnn", "wide", "shared"])
def test_an_example_that_is_not_finite_counts_as_zero_and_spoils_no_other(name, broken):
    model, params, x, y = made(name)
    spoilt = x.clone()
    spoilt[0, 2] = broken
    gradients, squares = squares_of(ours(model, params, spoilt, y)[0])
    _, whole = squares_of(ours(model, params, x, y)[0])
    others = [n for n in range(BATCH) if n != 2]

    assert bool(squares.isfinite().all())
    assert torch.allclose(squares[:, 0, others], whole[:, 0, others], rtol=1e-4)
    for gradient, p in zip(gradients, params, strict=True):
        home = torch.zeros_like(p)
        gradient.add_to(home, torch.ones(1, BATCH))
        assert bool(home.isfinite().all())
        if broken != 1e30:
            assert float(gradient.squares()[0, 2]) == 0


def test_a_squared_norm_by_gram_matrices_is_that_of_the_product():
    """By hand: back (1, 2) into (3, 4) over two positions of one row each: 1*3 + 2*4 = 11, squared 121."""
    gradient = Positions(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0], [4.0]]]]))
    home = torch.zeros(1, 1, 1)
    gradient.add_to(home, torch.tensor([[0.5]]))

    assert 121 <= float(gradient.squares()) < 121 * (1 + 1e-6)  # and what rounding may have taken
    assert float(home) == 5.5
