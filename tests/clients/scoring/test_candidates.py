"""Oracle: each model alone, its parameters and buffers loaded, in evaluation mode."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from gauntlet.clients.scoring.candidates import CandidateModels
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(7, 4), nn.Linear(4, 7)

    def forward(self, x):
        return self.out(self.table(x).mean(dim=1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class OneWeightTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).relu())


MODELS = {
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 2)), (3,)),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)), (3,)),
    "recurrent": (Recurrent, (4, 3)),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2)),
        (1, 6, 6),
    ),
    "one weight twice": (OneWeightTwice, (3,)),
    "frozen layer": (lambda: nn.Sequential(nn.Linear(3, 5).requires_grad_(False), nn.Linear(5, 2)), (3,)),
}


def candidates(model, stacked=True):
    return CandidateModels(model, "of this test", nn.functional.cross_entropy, None, stacked)


def drawn(model, count):
    """Return parameters [L, P], buffers [L, Q] (variances above 0), and what each model gives alone."""
    layout = Layout.of(model)
    params = 0.3 * torch.randn(count, layout.num_parameters)
    return layout, params, 0.5 + torch.rand(count, layout.num_buffers)


def alone(model, layout, params, buffers, x):
    model = deepcopy(model).eval()
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**layout.views(params), **layout.buffer_views(buffers)}.items():
            own[name].copy_(value)
        return model(x)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_every_candidate_gives_what_it_gives_alone(kind, stacked):
    torch.manual_seed(1)
    build, shape = MODELS[kind]
    model, x = build(), torch.randn(6, *shape)
    layout, params, buffers = drawn(model, 35)  # more than one stack
    before = x.clone()
    out = candidates(deepcopy(model), stacked).forward(torch.zeros(layout.num_buffers))(params, x, buffers)
    expected = torch.stack([alone(model, layout, p, b, x) for p, b in zip(params, buffers, strict=True)])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(x, before)
    assert not out.requires_grad


def test_without_buffers_of_their_own_all_have_those_of_the_round():
    torch.manual_seed(2)
    model, x = MODELS["batch norm"][0](), torch.randn(4, 3)
    layout, params, buffers = drawn(model, 3)
    out = candidates(deepcopy(model)).forward(buffers[0])(params, x)
    expected = torch.stack([alone(model, layout, p, buffers[0], x) for p in params])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stacked", [True, False])
def test_whole_numbers_go_in_as_they_are(stacked):
    torch.manual_seed(3)
    model, x = Tokens(), torch.randint(0, 7, (5, 3))
    layout, params, _ = drawn(model, 4)
    out = candidates(deepcopy(model), stacked).forward(torch.zeros(0))(params, x)
    expected = torch.stack([alone(model, layout, p, torch.zeros(0), x) for p in params])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_answers_have_the_same_bits_again_and_do_not_follow_from_torchs_threads():
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(40, 30), nn.Dropout(0.5), nn.Linear(30, 5))
    _, params, _ = drawn(model, 9)
    run, x = candidates(model).forward(torch.zeros(0)), torch.randn(2100, 40)
    first, threads = run(params, x), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(first, run(params, x))
    finally:
        torch.set_num_threads(threads)
    assert first.shape == (9, 2100, 5)


class Writes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(x.relu_())


def test_what_cannot_be_run_is_said_in_one_line():
    run = candidates(nn.Linear(3, 2)).forward(torch.zeros(0))
    for params in (torch.zeros(8), torch.zeros(2, 7), torch.zeros(2, 8).double(), torch.zeros(0, 8), None):
        with pytest.raises(PluginError, match=r"forward: params must be a tensor float32 \[L, 8\], got "):
            run(params, torch.zeros(1, 3))
    with pytest.raises(PluginError, match=r"forward: buffers must be a tensor float32 \[2, 0\], got "):
        run(torch.zeros(2, 8), torch.zeros(1, 3), torch.zeros(1, 0))
    with pytest.raises(PluginError, match=r"forward: x must be a tensor of at least one input"):
        run(torch.zeros(2, 8), torch.zeros(0, 3))
    with pytest.raises(PluginError, match="model 'of this test' cannot be run: "):
        run(torch.zeros(2, 8), torch.zeros(1, 4))
    with pytest.raises(PluginError, match="the model wrote into what it was handed"):
        candidates(Writes()).forward(torch.zeros(0))(torch.zeros(1, 8), -torch.ones(1, 3))


@pytest.mark.parametrize("name", ["dropout", "batch norm", "convolution"])
def test_a_gradient_is_that_of_the_loss_in_evaluation_mode(name):
    """Oracle: torch's own backward pass through the module, its parameters and buffers loaded."""
    make, shape = MODELS[name]
    model = make()
    layout, params, buffers = drawn(model, 1)
    x, y = torch.randn(6, *shape), torch.arange(6) % 2
    model = deepcopy(model).eval()
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for key, value in {**layout.views(params[0]), **layout.buffer_views(buffers[0])}.items():
            own[key].copy_(value)
    nn.functional.cross_entropy(model(x), y).backward()
    expected = torch.cat([own[slot.name].grad.flatten() for slot in layout.parameters])
    found = candidates(make()).gradient(buffers[0])(params[0], x, y)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_gradient_of_what_is_no_model_is_refused():
    run = candidates(MODELS["dropout"][0]()).gradient(torch.zeros(0))
    with pytest.raises(PluginError, match=r"params must be a tensor float32 \[1, 32\], got Tensor float32"):
        run(torch.zeros(31), torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
