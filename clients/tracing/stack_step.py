"""One stacked training step as a short list of tensor operations, traced once for every shape.

The trace is that of automatic differentiation, tidied: operations that change nothing are taken out, equal
ones are done once, and the gradient of a dense layer's weight, which is a product of two small matrices, is
left as its two factors, so that SGD can add the product to the weights without ever writing it down.

Source: torch.fx, Reed, DeVito, He, Ussery, Ansel. torch.fx: Practical Program Capture and Transformation for
Deep Learning in Python. MLSys 2022. arXiv:2112.08429
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functionalize, vjp, vmap
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.passes.dialect.common.cse_pass import CSEPass

from ..placement.stackable import convolves
from .dropout import calls
from .functions import by_functions
from .losses import CROSS_ENTROPY
from .objective import Objective, Parts, total
from .pooling import pool_by_slices
from .recording import recorded
from .traces import traces_of

if TYPE_CHECKING:
    from ...core.contracts import LossForm
    from ...core.dropout import Call
    from ..training.added_loss import AddedLoss
    from ..training.step import Gradient

_OPS = torch.ops.aten
_REARRANGE = {op.default for op in (_OPS.view, _OPS._unsafe_view, _OPS.expand, _OPS.permute, _OPS.clone)}

_AT_ONCE = 64

Step = Callable[..., list[Any]]
"""From stacked parameters, those of frozen models, masks, inputs and targets to gradients and losses [K]."""


class StackedStep:
    """Differentiate a loss for every client at once.

    Attributes:
        form: How the loss is written, and what its targets are.
        at_once: Examples of a client of which frozen models had best be asked together: a convolution of many
            clients' many pictures takes longer than those of a few each.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        form: LossForm = CROSS_ENTROPY,
        compiled: bool = False,
        added: AddedLoss | None = None,
    ) -> None:
        """Take the model, its parameters' names in the order in which they will be given, and the loss.

        With ``compiled``, ``torch.compile`` has every shape's trace: seconds for each. ``added`` is what an
        algorithm adds to the loss.
        """
        self._model, self.form, self.added = model.train(), form, added
        self._objective = Objective(self._model, names, form, added)
        self._compiled, self.at_once = compiled, 1 if convolves(model) else _AT_ONCE
        shared = traces_of(model, "stacked", tuple(names), form.key, compiled)
        self._traces: dict[Any, Step] = shared if added is None else {}
        self._calls: dict[tuple[int, ...], list[Call]] = {}

    def drops(self, input_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> list[Call]:
        """Return the calls of dropout layers, in their order, for inputs of which each has this shape."""
        shape = tuple(input_shape)
        if shape not in self._calls:
            self._calls[shape] = calls(self._model, shape, dtype)
        return self._calls[shape]

    def __call__(
        self,
        params: Sequence[Tensor],
        x: Tensor,
        targets: Tensor,
        masks: Sequence[Tensor] = (),
        frozen: Sequence[Tensor] = (),
    ) -> tuple[list[Gradient], Tensor]:
        """Return the gradients and each client's loss [K].

        Args:
            params: The clients' parameters.  # [K, ...] each
            x: Inputs.  # [K, B, ...]
            targets: The form's, of every example.  # [K, B, T]
            masks: What every call of a dropout layer keeps (1) or drops (0).  # [K, B, ...] each
            frozen: What the frozen models that the addition asks for make of the inputs, as ``ahead`` returns
                it.  # [K, B, ...] each
        """
        kind = x.shape, targets.shape, x.device, x.dtype, params[0].dtype
        given = (*params, *frozen, *masks, x, targets)
        if kind not in self._traces:
            self._traces[kind] = self._trace(given, len(params))
        *gradients, losses = self._traces[kind](*given)
        return gradients, losses

    def ahead(self, frozen: Sequence[Sequence[Tensor]], x: Tensor) -> list[Tensor]:
        """Return outputs and features of each frozen model, model after model.  # [K, B, ...] each

        Args:
            frozen: The parameters of each frozen model that the addition asks for.  # [K, ...] each
            x: Inputs, of one step or of several.  # [K, B, ...]
        """
        objective, kind = self._objective, ("ahead", x.shape, x.device, x.dtype)

        def one(*values: Tensor) -> list[Tensor]:
            found = objective.frozen(values[:-1], values[-1])
            return [part for model in found.values() for part in (model.outputs, model.features)]

        given = (*(p for model in frozen for p in model), x)
        if kind not in self._traces:
            self._traces[kind] = self._made(_tidied(_traced(vmap(one), given)), 0, x.device.type)
        return self._traces[kind](*given)

    def _trace(self, given: Sequence[Tensor], size: int) -> Step:
        objective = self._objective
        behind = size + objective.frozen_values

        def one(*values: Tensor) -> list[Tensor]:
            *before, inputs, target = values
            frozen = objective.made(before[size:behind])

            def scored(own: list[Tensor]) -> tuple[Parts, Parts]:
                return objective.parts(objective.local(own, before[behind:], inputs), frozen, target)

            parts, pull_back, *aux = vjp(scored, before[:size], has_aux=True)
            weights: Parts = aux[0]
            return [*pull_back(weights)[0], total(parts, weights)]

        return self._made(_tidied(_traced(vmap(one), given)), size, given[-1].device.type)

    def _made(self, graph: GraphModule, size: int, device: str) -> Step:
        """Return a trace, whose first ``size`` results are gradients, as it is called."""
        slices = device == "cpu" and not self._compiled  # a compiler has a way of its own
        graph = _factored(pool_by_slices(graph) if slices else graph, size)
        if self._compiled:
            step: Step = torch.compile(graph, fullgraph=True, dynamic=False)
            return step
        return by_functions(graph).forward


def _traced(step: Callable[..., Any], given: Sequence[Tensor]) -> GraphModule:
    """Return the trace of a step in which nothing is written over what was there: tidying counts on that."""
    found = recorded(step, given)
    calls = (node.target for node in found.graph.nodes if node.op == "call_function")
    if any(getattr(getattr(call, "_schema", None), "is_mutable", False) for call in calls):
        found = recorded(functionalize(step), given)
    return found


def _tidied(module: GraphModule) -> GraphModule:
    """Return the trace without operations that change nothing, and without doing anything twice."""
    for node in list(module.graph.nodes):
        if node.op == "call_function" and (source := _unchanged(node)) is not None:
            node.replace_all_uses_with(source)
    module.graph.eliminate_dead_code()
    done = CSEPass()(module)
    return done.graph_module if done is not None else module


def _unchanged(node: Node) -> Any:
    """Return what a node hands on as it came, or None where it does something."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node):
        return None
    if node.target is _OPS.alias.default or (node.target in _REARRANGE and _alike(node, source)):
        return source
    if node.target is _OPS.mul.Scalar and node.args[1] == 1:
        return source
    if (
        node.target is _OPS.transpose.int
        and source.target is node.target
        and source.args[1:] == node.args[1:]
    ):
        return source.args[0]
    return None


def _alike(a: Node, b: Node) -> bool:
    one, other = a.meta.get("form"), b.meta.get("form")
    return one is not None and one == other


def _factored(module: GraphModule, gradients: int) -> GraphModule:
    """Return the trace with the factors of every gradient that is a batched product, in its place."""
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    results: list[Any] = list(output.args[0])
    for place, node in enumerate(results[:gradients]):
        product = node
        while product.target in _REARRANGE and _alike(product, product.args[0]):
            product = product.args[0]
        if product.target is _OPS.bmm.default:
            results[place] = product.args
    output.args = (results,)
    module.graph.set_codegen(CodeGen())
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
