"""Pooling by slices against torch's, to the last bit."""

import pytest
import torch
from torch import nn
from torch.func import vjp

from gauntlet.clients.tracing.pooling import pool, pool_by_slices, unpool
from gauntlet.clients.tracing.recording import recorded
from gauntlet.clients.tracing.stack_step import StackedStep


@pytest.mark.parametrize(
    ("shape", "window"), [((3, 2, 8, 8), (2, 2)), ((2, 3, 7, 11), (2, 3)), ((1, 1, 9, 9), (3, 3))]
)
@pytest.mark.parametrize("ties", [False, True])
def test_values_and_gradients_are_torchs(shape, window, ties):
    """With ties, a few small whole numbers: of equal values the first one gets the gradient."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=stream)
    x = (x.round() if ties else x).requires_grad_()
    expected = nn.functional.max_pool2d(x, window)
    back = torch.randn(expected.shape, generator=stream)
    (gradient,) = torch.autograd.grad(expected, x, back)
    best, wins = pool(x.detach(), window)

    assert torch.equal(best, expected.detach())
    assert torch.equal(unpool(back, wins, x.detach(), window), gradient)
    assert len(wins) == sum(window)
    assert torch.equal(sum(wins[window[1] :]), torch.ones_like(best))


@pytest.mark.parametrize("peeks", [False, True])
def test_a_trace_pools_before_it_makes_positive_unless_somebody_looks(peeks):
    """Oracle: torch's own gradients, to the last bit, with zeros and ties all over."""
    x = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0)).round()
    back = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(1))

    def gradients(x, back):
        def forward(x):
            positive = torch.relu(2 * x)
            pooled = nn.functional.max_pool2d(positive, 2)
            return pooled * positive.sum() if peeks else pooled

        value, pull_back, *_ = vjp(forward, x)
        return value, pull_back(back)[0]

    graph = pool_by_slices(recorded(gradients, [x, back]))
    graph.graph.eliminate_dead_code()
    graph.recompile()
    nodes = [node.target for node in graph.graph.nodes]

    for found, expected in zip(graph(x, back), gradients(x, back), strict=True):
        assert torch.equal(found, expected)
    assert pool in nodes
    assert unpool in nodes
    assert (nodes.index(pool) < nodes.index(torch.ops.aten.relu.default)) != peeks


def test_a_stack_pools_by_slices_before_it_makes_positive():
    """Under vmap, what is pooled and which pixels won are rearranged: the trace looks through."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4))
    params = [p.detach().expand(3, *p.shape).clone() for p in model.parameters()]
    step = StackedStep(model, [name for name, _ in model.named_parameters()])
    with torch.no_grad():
        step(params, torch.ones(3, 5, 1, 8, 8), torch.zeros(3, 5, 4))
    (trace,) = step._traces.values()
    targets = [node.target for node in trace.__self__.graph.nodes]

    assert targets.count(pool) == targets.count(unpool) == 1
    assert targets.index(pool) < targets.index(torch.relu)
    assert torch.ops.aten.max_pool2d_with_indices.default not in targets


class Halved(nn.Module):
    """Something between a layer and its ReLU, number by number."""

    def forward(self, x):
        return x / 0.5


@pytest.mark.parametrize("between", [nn.Identity(), Halved(), nn.Sequential(Halved(), nn.Tanh(), Halved())])
def test_a_stack_goes_back_through_what_stands_between_a_convolution_and_its_relu(between):
    """Oracle: torch's own gradients, a client at a time, of two convolutions deep."""
    layers = nn.Conv2d(1, 2, 3, padding=1), between, nn.ReLU(), nn.MaxPool2d(2)
    more = nn.Conv2d(2, 3, 3, padding=1), between, nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    model = nn.Sequential(*layers, *more, nn.Flatten(), nn.Linear(3, 4))
    stream = torch.Generator().manual_seed(0)
    names = [name for name, _ in model.named_parameters()]
    params = [torch.randn(3, *p.shape, generator=stream) for p in model.parameters()]
    x, y = torch.randn(3, 5, 1, 8, 8, generator=stream), torch.randint(4, (3, 5), generator=stream)
    with torch.no_grad():
        gradients, _ = StackedStep(model, names)(params, x, -nn.functional.one_hot(y, 4).float())

    for client in range(3):
        own = {n: p[client].clone().requires_grad_() for n, p in zip(names, params, strict=True)}
        outputs = torch.func.functional_call(model, own, (x[client],))
        nn.functional.cross_entropy(outputs, y[client], reduction="sum").backward()
        for name, found in zip(names, gradients, strict=True):
            whole = torch.bmm(*found) if isinstance(found, tuple | list) else found
            torch.testing.assert_close(whole[client], own[name].grad, atol=5e-5, rtol=1e-5)
