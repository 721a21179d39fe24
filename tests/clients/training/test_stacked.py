"""Stacked clients against one client at a time: the same updates to rounding, padding or not."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.algorithms.gradient_descent import GradientDescent
from gauntlet.clients.data.base import PartitionedData
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.placement.compiling import compile_stacks
from gauntlet.clients.placement.stackable import can_stack, choose
from gauntlet.clients.tracing.stack_step import StackedStep
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.clients.training.stacked import _bucket
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.privacy.no_privacy import NoPrivacy

SIZES = (7, 23, 1, 16, 40, 5)  # examples a client: every kind of rest that batches of 8 can leave


class Ragged:
    """Clients of very different sizes, with random inputs of one shape."""

    num_classes = 4

    def __init__(self, *shape: int) -> None:
        self.input_shape = shape

    def client(self, client_id):
        stream = generator(3, "ragged", client_id)
        x = stream.standard_normal((SIZES[client_id], *self.input_shape)).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(stream.integers(0, 4, SIZES[client_id]))


MODELS = {
    "logistic regression": ((6,), lambda: nn.Linear(6, 4)),
    "mlp": ((6,), lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4))),
    "cnn with group norm": (
        (2, 6, 6),
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4)
        ),
    ),
    "cnn with pooling": (
        (2, 12, 13),
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(20, 4)),
        ),
    ),
    "mlp with dropout": (
        (6,),
        lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 4)),
    ),
    "cnn with dropout": ((2, 6, 6), lambda: DroppingTwice()),
}


class DroppingTwice(nn.Module):
    """One dropout layer called twice, on images and on features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear, self.dropout = nn.Conv2d(2, 3, 3), nn.Linear(48, 4), nn.Dropout(0.3)

    def forward(self, x):
        hidden = self.dropout(torch.relu(self.conv(x)))
        return self.linear(self.dropout(hidden.flatten(1)))


class Turned(nn.Module):
    """Dropout on the examples' transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(x.T).T


class Unlayered(nn.Module):
    """Dropout as a function."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5, self.training)


def both(name, training, rule):
    """Return the cohort's updates and losses, stacked and one at a time."""
    shape, make = MODELS[name]
    found = []
    for height in (32, 1):
        with seeded_torch(generator(0, "model")):
            model = make()
        params = Layout.of(model).flatten(dict(model.named_parameters()))
        kernel = BlockKernel(Ragged(*shape), model, rule, training, NoPrivacy(), (), 5, height=height)
        found.append(kernel.train(Broadcast(1, params, torch.zeros(0)), np.arange(len(SIZES))))
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "training",
    [
        LocalTraining(local_epochs=2, batch_size=8, lr=0.1),
        LocalTraining(local_epochs=1, batch_size=8, lr=0.1, momentum=0.9, weight_decay=0.01),
        LocalTraining(local_steps=4, batch_size=16, lr=0.2, momentum=0.5),
        LocalTraining(local_epochs=1, batch_size=0, lr=0.2),
    ],
    ids=["plain", "momentum and decay", "steps", "full batch"],
)
@pytest.mark.parametrize("rule", [FedAvg(), FedProx(0.5), GradientDescent(3)], ids=lambda r: type(r).__name__)
def test_a_stack_gives_the_updates_of_one_client_at_a_time(name, training, rule):
    """Oracle: the other path. Within 1e-5 of the update's norm; a padded example that counted would show."""
    stacked, alone = both(name, training, rule)
    difference = (stacked.updates.vectors - alone.updates.vectors).norm(dim=1)

    assert bool((difference <= 1e-5 * alone.updates.vectors.norm(dim=1)).all())
    assert torch.allclose(stacked.losses, alone.losses, rtol=1e-5)
    assert stacked.updates.num_examples.tolist() == list(SIZES)


def test_padding_is_really_masked():
    """A client of one example beside one of forty: its batch is padded with 39 rows of weight 0.

    One step of size 1 on f = cross-entropy of a linear model from 0: the bias moves by lr * (1/4 - onehot).
    """
    model = nn.Linear(6, 4)
    layout = Layout.of(model)
    how = LocalTraining(batch_size=0, lr=1.0)
    kernel = BlockKernel(Ragged(6), model, FedAvg(), how, NoPrivacy(), (), 5, height=32)
    sent = Broadcast(0, torch.zeros(layout.num_parameters), torch.zeros(0))
    trained = kernel.train(sent, np.arange(len(SIZES)))
    bias = layout.views(trained.updates.vectors)["bias"]

    label = Ragged(6).client(2)[1]
    assert torch.allclose(bias[2], nn.functional.one_hot(label, 4)[0] - 0.25)


def test_a_stack_is_as_high_as_a_cache_allows():
    """By hand: 2^20 parameters a stack, but two clients at least; 110, 200,200 and 1,001,000 a model."""
    small, medium, large = nn.Linear(10, 10), nn.Linear(1000, 200), nn.Linear(1000, 1000)

    assert choose("auto", small).height == 32
    assert choose("auto", medium).height == 5
    assert choose("auto", large).height == choose("on", large).height == 2
    assert choose("off", small).height == 1


def test_convolutions_of_large_batches_are_not_stacked_unless_asked_for():
    convolving, dense = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten()), nn.Linear(10, 10)

    assert choose("auto", convolving, batch_size=20).stacked
    assert not choose("auto", convolving, batch_size=21).stacked
    assert not choose("auto", convolving, batch_size=0).stacked  # all that a client has
    assert "convolutions" in choose("auto", convolving, batch_size=21).reason
    assert choose("on", convolving, batch_size=21).stacked
    assert choose("auto", dense, batch_size=21).stacked


def test_a_trace_keeps_a_dense_gradient_as_its_two_factors_and_does_nothing_twice():
    """By hand: one hidden layer takes two products forward, one back, and two that are left as factors."""
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))
    names = [name for name, _ in model.named_parameters()]
    params = [p.detach().expand(3, *p.shape).clone() for p in model.parameters()]
    step = StackedStep(model, names)
    gradients, _ = step(params, torch.randn(3, 5, 6), torch.rand(3, 5, 4))
    (trace,) = step._traces.values()
    targets = [node.target for node in trace.__self__.graph.nodes if node.op == "call_function"]

    assert [isinstance(g, tuple | list) for g in gradients] == [True, False, True, False]
    assert targets.count(torch.bmm) == 3
    aten = torch.ops.aten
    assert not {aten.bmm.default, aten.expand.default, torch.Tensor.expand, aten.alias.default} & set(targets)


def test_buckets_are_few_and_never_smaller():
    found = {_bucket(n) for n in range(1, 1025)}

    assert all(n <= _bucket(n) <= 1.25 * n for n in range(1, 1025))
    assert len(found) == 7 + 4 * 7 + 1


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.AlphaDropout(0.5), "a way of its own"),
        (nn.Dropout(0.5, inplace=True), "a way of its own"),
        (nn.Dropout(1.0), "a way of its own"),
        (Turned(), "first dimension"),
        (Unlayered(), "outside of dropout layers"),
        (nn.BatchNorm1d(3), "batch statistics"),
        (nn.LSTM(2, 2), "recurrent"),
    ],
)
def test_what_cannot_be_stacked_falls_back_and_says_why(module, words):
    model = nn.Sequential(nn.Linear(3, 3), module)

    assert words in can_stack(model, (3,))
    assert not choose("auto", model, (3,)).stacked
    assert words in choose("auto", model, (3,)).reason
    with pytest.raises(ScenarioError, match="vectorize = on cannot be"):
        choose("on", model, (3,))


def test_dropout_that_drops_nothing_is_no_obstacle_and_other_dropout_needs_the_inputs_shape():
    assert can_stack(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0))) is None
    assert can_stack(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), (3,)) is None
    assert "shape is not known" in can_stack(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)))


def test_asking_whether_a_model_can_be_stacked_leaves_it_and_the_global_stream_alone():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), Unlayered())
    before = torch.random.get_rng_state()
    can_stack(model, (3,))

    assert torch.equal(before, torch.random.get_rng_state())
    assert "forward" not in vars(model[1])


@pytest.mark.parametrize("pixels", [np.uint8, np.float32])
def test_examples_are_taken_from_where_the_data_set_has_them(pixels):
    """Oracle: one client at a time, on copies. Twelve examples dealt out to three clients in no order."""
    stream = np.random.default_rng(0)
    x = stream.integers(0, 256, (12, 6)).astype(pixels)
    y, order = stream.integers(0, 4, 12), stream.permutation(12)
    offsets = np.array([0, 5, 8, 12])
    data = PartitionedData("dealt", x, y, x, y, order, offsets, 4, (), (), (0.0, 1.0))
    updates = []
    for height in (32, 1):
        with seeded_torch(generator(0, "model")):
            model = nn.Linear(6, 4)
        how = LocalTraining(local_epochs=2, batch_size=2, lr=1e-3)
        kernel = BlockKernel(data, model, FedAvg(), how, NoPrivacy(), (), 5, height=height)
        params = kernel.layout.flatten(dict(model.named_parameters()))
        updates.append(kernel.train(Broadcast(1, params, torch.zeros(0)), np.arange(3)).updates.vectors)

    assert torch.allclose(*updates, rtol=1e-4, atol=1e-6 * float(updates[1].abs().max()))
    np.testing.assert_array_equal(data.x, x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch's own compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler on this machine")
@pytest.mark.parametrize("name", ["mlp", "cnn with pooling"])
def test_a_compiled_step_gives_the_updates_of_the_traced_one(name):
    """Oracle: the traced step. Within 1e-5 of the update's norm, on ragged clients, so on several shapes."""
    shape, make = MODELS[name]
    found = []
    for compiled in (False, True):
        with seeded_torch(generator(0, "model")):
            model = make()
        params = Layout.of(model).flatten(dict(model.named_parameters())).clone()
        how = LocalTraining(local_epochs=1, batch_size=16, lr=0.1, momentum=0.5)
        kernel = BlockKernel(
            Ragged(*shape), model, FedAvg(), how, NoPrivacy(), (), 5, height=8, compiled=compiled
        )
        found.append(kernel.train(Broadcast(1, params, torch.zeros(0)), np.arange(3)))
    traced, other = (trained.updates.vectors for trained in found)

    assert type(kernel._stacked._traces.popitem()[1]).__name__ != "method"  # a compiled callable
    assert bool(((other - traced).norm(dim=1) <= 1e-5 * traced.norm(dim=1)).all())
    assert torch.allclose(found[1].losses, found[0].losses, rtol=1e-5)


def test_stacks_are_compiled_where_that_is_asked_for_and_can_be(monkeypatch):
    dense, compiler = nn.Linear(3, 2), "python3"  # any program that is there
    stacked, alone = choose("on", dense), choose("off", dense)

    monkeypatch.setenv("CXX", compiler)
    assert not compile_stacks("off", stacked, dense, 10**9).compiled
    assert compile_stacks("on", stacked, dense, 1).reason.endswith("compiled")
    with pytest.raises(ScenarioError, match="compile = on cannot be: one client at a time: vectorize = off"):
        compile_stacks("on", alone, dense, 1)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ScenarioError, match="no compiler 'no-such-compiler' on this machine; use auto"):
        compile_stacks("on", stacked, dense, 1)


def test_auto_compiles_high_stacks_of_convolutions_in_long_runs_where_there_is_a_compiler(monkeypatch):
    small, dense = nn.Conv2d(1, 4, 3), nn.Linear(30, 20)
    large = nn.Conv2d(64, 256, 3)  # 147,712 parameters: stacks of 7

    monkeypatch.setenv("CXX", "python3")
    for model, stacks, compiled in [
        (small, 10_000, True),
        (small, 9_999, False),
        (dense, 10**9, False),
        (large, 10**9, False),
    ]:
        assert compile_stacks("auto", choose("on", model), model, stacks).compiled == compiled
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not compile_stacks("auto", choose("on", small), small, 10**9).compiled
