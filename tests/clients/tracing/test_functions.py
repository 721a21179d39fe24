"""Torch's functions in place of a trace's overloads: the trace itself is the oracle, to the bit."""

import torch
from torch.fx import Graph, GraphModule

from gauntlet.clients.tracing.functions import _FUNCTIONS, by_functions
from gauntlet.clients.tracing.recording import recorded

ATEN = torch.ops.aten


def step(x, w):
    """Every overload that has a function, and one that has none."""
    hidden = torch.bmm(x.view(3, 4, 5), w.unsqueeze(0).expand(3, 2, 5).transpose(1, 2)).relu() * 1.5
    said = torch.log_softmax(hidden + x[..., :2], dim=2)
    back = ATEN._log_softmax_backward_data.default(said * x[..., 1:3], said, 2, torch.float32)
    return [back.permute(1, 0, 2), said.sum([0, 2]), hidden.tanh()]


def test_the_same_bits_come_out_and_no_overload_is_left_that_a_function_stands_for():
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in ((3, 4, 5), (2, 5))]
    trace = recorded(lambda x, w: step(x.reshape(12, 5).view(3, 4, 5), w), given)
    before = {node.target for node in trace.graph.nodes}
    expected = [value.clone() for value in trace(*given)]

    found = by_functions(trace)

    assert before >= set(_FUNCTIONS)
    assert all(torch.equal(a, b) for a, b in zip(found(*given), expected, strict=True))
    assert not {node.target for node in found.graph.nodes} & set(_FUNCTIONS)
    assert ATEN.tanh.default in {node.target for node in found.graph.nodes}


def test_a_call_with_keywords_stays_an_overload():
    graph = Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(ATEN.add.Tensor, (x, x), {"alpha": 3}))

    module = by_functions(GraphModule(torch.nn.Module(), graph))

    assert ATEN.add.Tensor in {node.target for node in module.graph.nodes}
    assert module(torch.ones(2)).tolist() == [4.0, 4.0]
