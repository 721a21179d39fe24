"""Operations of a trace called by torch's own functions, which do the same with about half the overhead.

A trace names overloads (``torch.ops.aten.add.Tensor``), whose arguments are boxed and unboxed at every call.
On small stacks that is a good part of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

_OPS = torch.ops.aten
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    _OPS.view.default: Tensor.view,
    _OPS.expand.default: Tensor.expand,
    _OPS.permute.default: torch.permute,
    _OPS.transpose.int: torch.transpose,
    _OPS.unsqueeze.default: torch.unsqueeze,
    _OPS.add.Tensor: torch.add,
    _OPS.mul.Tensor: torch.mul,
    _OPS.relu.default: torch.relu,
    _OPS.bmm.default: torch.bmm,
    _OPS.sum.dim_IntList: torch.sum,
    _OPS._log_softmax.default: torch._log_softmax,
    _OPS._log_softmax_backward_data.default: torch._log_softmax_backward_data,
}


def by_functions(module: GraphModule) -> GraphModule:
    """Return the trace with torch's functions in place of the overloads that they come to.

    A call with keywords stays as it is: a function may know others.
    """
    for node in module.graph.nodes:
        if node.op == "call_function" and not node.kwargs:
            node.target = _FUNCTIONS.get(node.target, node.target)
    module.recompile()
    return module
