"""Traces are shared by models of one structure, and by no others."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.clients.tracing import traces
from gauntlet.clients.tracing.example_step import ExampleStep
from gauntlet.clients.tracing.losses import LabelForm, NumberForm
from gauntlet.clients.tracing.stack_step import StackedStep
from gauntlet.clients.tracing.traces import structure_of, traces_of


class Small(nn.Module):
    """Two layers, an attribute and a function."""

    def __init__(self, width=3, scale=1.0, function=torch.tanh, tied=False, rate=0.0):
        super().__init__()
        self.a, self.b = nn.Linear(4, width), nn.Linear(width, 2)
        self.c = self.b if tied else nn.Linear(width, 2)
        self.drop = nn.Dropout(rate)
        self.scale, self.function = scale, function

    def forward(self, x):
        h = self.drop(self.function(self.a(x)))
        return self.scale * (self.b(h) + self.c(h))


class Other(Small):
    """The same parts, put together in another way."""

    def forward(self, x):
        return super().forward(-x)


class Slotted(Small):
    """An attribute that is not among the others."""

    __slots__ = ("shift",)


class Listed(list):
    """A list with an attribute."""

    def __init__(self, values):
        super().__init__(values)
        self.factor = 2.0


def with_buffer(model):
    model.register_buffer("shift", torch.ones(2))
    return model


def with_hook(model):
    model.b.register_forward_hook(lambda *_: None)
    return model


def without_a_part(model):
    model.register_module("skip", None)
    return model


def frozen(model):
    model.a.bias.requires_grad_(False)
    return model


def test_other_numbers_are_the_same_structure():
    one, two = Small(), Small()
    assert not torch.equal(one.a.weight, two.a.weight)
    assert structure_of(one) == structure_of(two) == structure_of(copy.deepcopy(one))
    assert hash(structure_of(one)) == hash(structure_of(two))


@pytest.mark.parametrize(
    "other",
    [
        lambda: Small(width=5),
        lambda: Small(scale=2.0),
        lambda: Small(scale=1),  # an integer is traced otherwise
        lambda: Small(function=functional.relu),
        lambda: Small(tied=True),
        lambda: Small(rate=0.5),
        lambda: Small().double(),
        lambda: Small().eval(),
        lambda: without_a_part(Small()),
        lambda: Other(),
    ],
)
def test_whatever_changes_the_trace_is_another_structure(other):
    assert structure_of(other()) is not None
    assert structure_of(other()) == structure_of(other())
    assert structure_of(other()) != structure_of(Small())


@pytest.mark.parametrize(
    "other",
    [
        lambda: with_buffer(Small()),
        lambda: with_hook(Small()),
        lambda: frozen(Small()),
        lambda: Slotted(),
        lambda: Small(scale=Listed((2.0,))),
        lambda: Small(scale=torch.ones(1)),
        lambda: Small(function=Small().forward),  # of an instance
    ],
)
def test_what_cannot_be_compared_shares_nothing(other):
    assert structure_of(other()) is None
    assert traces_of(other(), "x") is not traces_of(other(), "x")


def test_an_attribute_set_on_the_class_makes_another_structure(monkeypatch):
    before = structure_of(Other())
    monkeypatch.setattr(Other, "factor", 2.0, raising=False)
    assert structure_of(Other()) != before
    assert structure_of(Small()) == structure_of(Small())


def stacked(step, models):
    params = [torch.stack(p).detach() for p in zip(*(m.parameters() for m in models), strict=True)]
    x = torch.linspace(-1, 1, 2 * 5 * 4).view(2, 5, 4)
    targets = -functional.one_hot(torch.arange(10).view(2, 5) % 2, 2) / 5
    return step(params, x, targets)


@pytest.mark.parametrize("kind", [StackedStep, ExampleStep])
def test_a_second_model_takes_the_firsts_trace_with_its_own_numbers(kind, monkeypatch):
    monkeypatch.setattr(traces, "_SHARED", type(traces._SHARED)())
    models = [Small(), Small()]
    names = [name for name, _ in models[0].named_parameters()]
    first = kind(models[0], names)
    stacked(first, models)
    others = [Small(), Small()]
    second = kind(others[0], names)
    assert len(second._traces) == 1
    found = stacked(second, others)
    assert len(second._traces) == 1

    alone = kind(with_buffer(others[0]), names)  # traced for itself
    assert len(alone._traces) == 0
    wanted = stacked(alone, others)
    assert torch.equal(found[1], wanted[1])
    assert not torch.equal(found[1], stacked(first, models)[1])


@pytest.mark.parametrize("kind", [StackedStep, ExampleStep])
def test_what_is_not_trained_is_each_models_own(kind):
    """A trace holds the numbers of what it is not given: those of this model."""
    one, two = frozen(Small()), frozen(Small())
    two.load_state_dict({**one.state_dict(), "a.bias": one.a.bias + 1})
    names = [name for name, p in one.named_parameters() if p.requires_grad]
    params = [torch.stack([p, p]).detach() for p in map(one.get_parameter, names)]
    x, targets = torch.ones(2, 1, 4), -functional.one_hot(torch.zeros(2, 1).long(), 2).float()
    _, losses = kind(one, names)(params, x, targets)
    _, others = kind(two, names)(params, x, targets)
    wanted = functional.cross_entropy(two(torch.ones(1, 4)), torch.zeros(1).long()).item()
    assert others.detach().flatten().tolist() == pytest.approx([wanted] * 2, rel=1e-6)
    assert not torch.allclose(losses, others)


def test_a_loss_of_another_kind_has_a_trace_of_its_own():
    model = Small()
    names = [name for name, _ in model.named_parameters()]
    forms = LabelForm(), NumberForm("mae"), NumberForm("mse")
    kinds = [StackedStep(model, names, form)._traces for form in forms]
    assert len({id(found) for found in kinds}) == 3
    assert StackedStep(model, names[::-1])._traces is not kinds[0]


def test_only_so_many_structures_are_kept(monkeypatch):
    monkeypatch.setattr(traces, "_SHARED", type(traces._SHARED)())
    models = [Small(width=width) for width in range(1, 41)]
    kept = [traces_of(model) for model in models]
    assert len(traces._SHARED) == 32
    assert traces_of(models[-1]) is kept[-1]
    assert traces_of(models[0]) is not kept[0]
