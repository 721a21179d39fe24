"""Recorded steps: torch's own ``make_fx`` is the oracle of what is written, the function of what it does."""

import subprocess
import sys

import pytest
import torch
import torch._dynamo
from torch import nn
from torch._functorch import eager_transforms
from torch.func import functional_call, grad, vmap
from torch.fx import map_arg
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import _disable_current_modes

from gauntlet.clients.tracing.recording import form, recorded
from gauntlet.core.without_dynamo import without_dynamo

CONVOLUTIONS = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2))
MODELS = {
    "dense": (nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 2)), (5,)),
    "convolutions": (nn.Sequential(*CONVOLUTIONS), (1, 8, 8)),
    "groups": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.AvgPool2d(2), nn.Flatten()),
        (2, 6, 6),
    ),
    "words": (nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.Softmax(1)), (2, 3)),
}


def step_of(name):
    """Every client's gradients, and what they are taken of: parameters and inputs of three clients."""
    torch.manual_seed(0)
    model, shape = MODELS[name]
    names = [key for key, _ in model.named_parameters()]

    def loss(own, x):
        return functional_call(model, dict(zip(names, own, strict=True)), (x,)).square().mean()

    def step(*values):
        return vmap(grad(loss))(list(values[:-1]), values[-1])

    def values():
        like = [p for _, p in model.named_parameters()]
        return [torch.randn(3, *p.shape) for p in like] + [torch.randn(3, 4, *shape)]

    return step, values


def calls(module):
    """Every operation with its arguments, other operations by their place."""
    nodes = list(module.graph.nodes)
    return [
        (node.op, node.target if node.op == "call_function" else "", repr(map_arg(node.args, nodes.index)))
        for node in nodes
    ]


@pytest.mark.parametrize("name", MODELS)
def test_it_does_to_other_values_what_the_function_does(name):
    step, values = step_of(name)
    trace = recorded(step, values())
    other = values()

    for found, expected in zip(trace(*other), step(*other), strict=True):
        assert torch.equal(found, expected)
        assert form(found) == form(expected)


@pytest.mark.parametrize("name", MODELS)
def test_it_writes_down_what_torch_does(name):
    step, values = step_of(name)
    given = values()

    assert calls(recorded(step, given)) == calls(make_fx(step, tracing_mode="fake")(*given))


def test_one_tensor_that_is_given_twice_is_two_inputs():
    x = torch.tensor([2.0, 3.0])
    trace = recorded(lambda a, b: [a - b], [x, x])

    assert trace(x, torch.ones(2))[0].tolist() == [1, 2]


def test_what_the_function_reads_beside_its_inputs_stays():
    weight = torch.tensor([2.0, 3.0])
    trace = recorded(lambda x: [x * weight + torch.tensor([1.0, 1.0])], [torch.zeros(2)])

    assert trace(torch.ones(2))[0].tolist() == [3, 4]


def test_several_results_of_one_operation_are_told_apart():
    trace = recorded(lambda x: list(x.split(1))[::-1], [torch.zeros(2)])

    assert [v.item() for v in trace(torch.tensor([1.0, 2.0]))] == [2, 1]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: [x * torch.rand(2)], "draws"),
        (lambda x: [x * x.sum().item()], "reads 2.0 out of a tensor"),
        (lambda x: [x if x.sum() > 0 else -x], "reads True out of a tensor"),
    ],
)
def test_what_is_not_always_the_same_is_refused(function, said):
    with pytest.raises(RuntimeError, match=said):
        recorded(function, [torch.ones(2)])


def test_a_tensor_made_where_nobody_sees_it_is_refused():
    """The numbers are those of the input, but no operation says so."""

    def behind(x):
        with _disable_current_modes():
            hidden = x.view(2)
        return [hidden * 2]

    with pytest.raises(RuntimeError, match="behind the trace's back"):
        recorded(behind, [torch.ones(2)])


@pytest.mark.parametrize("name", MODELS)
def test_what_is_recorded_without_torchs_compiler_is_what_is_recorded_with_it(name, monkeypatch):
    """The oracle is torch's own way, which is taken where the compiler has been imported."""
    step, values = step_of(name)
    monkeypatch.setitem(sys.modules, "torch._dynamo", torch._dynamo)
    usual = recorded(step, values())
    monkeypatch.delitem(sys.modules, "torch._dynamo")
    own = eager_transforms._autograd_grad
    with without_dynamo():
        assert eager_transforms._autograd_grad is not own
        assert calls(recorded(step, values())) == calls(usual)

    assert eager_transforms._autograd_grad is own


def test_inputs_on_which_nothing_depends_have_zeros_without_the_compiler(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    with without_dynamo():
        slopes = grad(lambda own: own[0].square().sum())([torch.ones(2), torch.ones(3)])
        nothing = grad(lambda own: torch.ones(()))(torch.ones(2))

    assert [slope.tolist() for slope in slopes] == [[2.0, 2.0], [0.0, 0.0, 0.0]]
    assert nothing.tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_a_process_that_trains_stacked_clients_never_loads_the_compiler():
    code = (
        "import sys\nfrom gauntlet.server.simulation import prepare\n"
        "from gauntlet.server.spec import PluginSpec, RunSpec\n"
        "from gauntlet.core.contracts import LocalTraining\n"
        "spec = RunSpec(seed=0, rounds=1, num_clients=2, data=PluginSpec('digits'), "
        "partition=PluginSpec('iid'), model=PluginSpec('mlp'), training=LocalTraining(local_steps=1))\n"
        "simulation = prepare(spec)\nassert list(simulation.steps(simulation.serial_pool()))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (told.returncode, told.stdout) == (0, "False\n"), told.stderr
