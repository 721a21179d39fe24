"""One pass forth and one back for a stack of clients, after which every example's own gradient is known.

The trace is that of automatic differentiation with respect to what each layer puts out, not to its
parameters: what went into a layer and what comes back to it are the factors of all its examples' gradients.
A model with a layer whose gradients have no such factors is differentiated example by example instead, by
``torch.func``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import grad, vjp, vmap
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen

from ...core.contracts import Activations
from ...core.dropout import replaced
from ..data.blank import blank_inputs
from .dropout import calls
from .example_gradients import ExampleGradient, Written
from .layer_gradients import has_factors, of_layer
from .losses import CROSS_ENTROPY
from .objective import Objective, Parts, each, total
from .pooling import pool_by_slices
from .recording import recorded
from .traces import traces_of

if TYPE_CHECKING:
    from ...core.contracts import LossForm
    from ...core.dropout import Call
    from ..training.added_loss import AddedLoss

_ADD = torch.ops.aten.add.Tensor
Step = Callable[..., list[Tensor]]


@dataclass(frozen=True)
class Layer:
    """A layer that holds parameters.

    Attributes:
        module: The layer.
        places: Where its weight and its bias (None without) stand among the model's parameters.
        out: The shape of what it puts out for one example.
    """

    module: nn.Module
    places: tuple[int | None, ...]
    out: tuple[int, ...]


class ExampleStep:
    """Differentiate a loss, such as ``-log_softmax(model(x))[label]``, for every example of every client."""

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        form: LossForm = CROSS_ENTROPY,
        added: AddedLoss | None = None,
    ) -> None:
        """Take the model, its parameters' names in the order in which they will be given, and the loss.

        ``added`` is what an algorithm adds to it.
        """
        self._model, self._names = model.train(), tuple(names)
        self.form, self.added = form, added
        self._objective = Objective(self._model, names, form, added)
        shared = traces_of(model, "by example", self._names, form.key)
        self._traces: dict[Any, Step] = shared if added is None else {}
        self._calls: dict[tuple[int, ...], list[Call]] = {}
        self._layers: dict[tuple[int, ...], list[Layer] | None] = {}

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
        frozen: Sequence[Sequence[Tensor]] = (),
    ) -> tuple[list[ExampleGradient], Tensor]:
        """Return the examples' gradients, one object a parameter, and their losses [K, B].

        Args:
            params: The clients' parameters.  # [K, ...] each
            x: Inputs.  # [K, B, ...]
            targets: -1 at an example's label, all 0 where there is no example [K, B, C]; or an example's
                numbers, and behind them 1, or 0 where there is none.  # [K, B, D + 1]
            masks: What every call of a dropout layer keeps (1) or drops (0).  # [K, B, ...] each
            frozen: The parameters of each frozen model that the addition asks for.  # [K, ...] each
        """
        shape = tuple(x.shape)
        if shape[2:] not in self._layers:
            self._layers[shape[2:]] = layers_of(self._model, self._names, shape[2:], x.dtype)
        layers = self._layers[shape[2:]]
        given: tuple[Tensor, ...] = (*params, *(p for one in frozen for p in one), *masks, x, targets)
        alone = len(x) == 1
        given = tuple(v.squeeze(0) for v in given) if alone else given
        kind = shape, tuple(targets.shape), x.device, x.dtype, params[0].dtype
        if kind not in self._traces:
            trace = self._trace_examples if layers is None else self._trace_layers
            self._traces[kind] = trace(given, alone)
        *found, losses = self._traces[kind](*given)
        found, losses = ([v.unsqueeze(0) for v in found], losses.unsqueeze(0)) if alone else (found, losses)
        if layers is None:
            return [Written(g.flatten(2)) for g in found], losses
        return self._gathered(layers, found), losses

    def _gathered(self, layers: Sequence[Layer], found: Sequence[Tensor]) -> list[ExampleGradient]:
        by_place: dict[int, ExampleGradient] = {}
        for layer, into, back in zip(layers, found[: len(layers)], found[len(layers) :], strict=True):
            for place, gradient in zip(layer.places, of_layer(layer.module, into, back), strict=True):
                if place is not None:
                    by_place[place] = gradient
        return [by_place[place] for place in range(len(self._names))]

    def _trace_layers(self, given: Sequence[Tensor], alone: bool) -> Step:
        """Trace one pass forth and back; returns what went into every layer, what came back, the losses."""
        lead = 1 if alone else 2
        known = self._layers[tuple(given[-2].shape[lead:])] or []
        nudges = [torch.zeros(*given[-2].shape[:lead], *layer.out) for layer in known]
        layers = [layer.module for layer in known]

        def one(*values: Tensor) -> list[Tensor]:
            extra, rest = list(values[: len(layers)]), values[len(layers) :]
            own, frozen, kept, inputs, target = self._apart(rest)

            def scored(extra: list[Tensor]) -> tuple[Parts, tuple[list[Tensor], Parts]]:
                into: dict[int, Tensor] = {}
                with _tapped(layers, extra, into):
                    local = self._objective.local(own, kept, inputs)
                parts, weights = self._objective.parts(local, frozen, target)
                return parts, ([into[n] for n in range(len(layers))], weights)

            parts, pull_back, *aux = vjp(scored, extra, has_aux=True)
            into, weights = aux[0]
            return [*into, *pull_back(weights)[0], each(parts, weights)]

        graph = recorded(one if alone else vmap(one), [*nudges, *given])
        return _without_nudges(graph, len(nudges))

    def _apart(
        self, values: Sequence[Tensor]
    ) -> tuple[list[Tensor], dict[str, Activations], list[Tensor], Tensor, Tensor]:
        """Return parameters, what the frozen models make of the inputs, masks, inputs and targets."""
        *before, inputs, target = values
        size = len(self._names)
        behind = size + self._objective.frozen_tensors
        frozen = self._objective.frozen(before[size:behind], inputs)
        return before[:size], frozen, before[behind:], inputs, target

    def _trace_examples(self, given: Sequence[Tensor], alone: bool) -> Step:
        """Trace a pass back for every example; returns its gradient of every parameter, and the losses."""

        def one(*values: Tensor) -> list[Tensor]:
            own, frozen, kept, inputs, targets = self._apart(values)
            said = {name: (one.outputs, one.features) for name, one in frozen.items()}

            def loss(own: list[Tensor], x: Tensor, target: Tensor, told: Any, *kept: Tensor) -> Any:
                local = self._objective.local(own, [mask.unsqueeze(0) for mask in kept], x.unsqueeze(0))
                others = {name: Activations(*(t.unsqueeze(0) for t in one)) for name, one in told.items()}
                value = total(*self._objective.parts(local, others, target.unsqueeze(0)))
                return value, value.detach()

            sides = (None, 0, 0, 0, *[0] * len(kept))
            gradients, losses = vmap(grad(loss, has_aux=True), sides)(own, inputs, targets, said, *kept)
            return [*gradients, losses]

        graph = recorded(one if alone else vmap(one), given)
        return _without_nudges(graph, 0)


def layers_of(
    model: nn.Module,
    names: Sequence[str],
    input_shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
) -> list[Layer] | None:
    """Return the layers that hold the model's parameters, or None where a gradient has no known factors.

    That is so for a layer that ``example_gradients`` does not know, that is called twice, or whose first
    dimension is not the examples.
    """
    found: list[tuple[nn.Module, tuple[int | None, ...]]] = []
    for path, module in model.named_modules():
        own = {name for name, p in module.named_parameters(recurse=False) if p.requires_grad}
        full = {name: f"{path}.{name}".lstrip(".") for name in own}
        if not own:
            continue
        if not has_factors(module) or any(name not in names for name in full.values()):
            return None
        places = tuple(names.index(full[n]) if n in full else None for n in ("weight", "bias"))
        found.append((module, places))
    shapes = _outputs(model, [module for module, _ in found], blank_inputs(2, input_shape, dtype))
    if any(len(seen) != 1 or seen[0][:1] != (2,) for seen in shapes):
        return None
    return [Layer(m, places, seen[0][1:]) for (m, places), seen in zip(found, shapes, strict=True)]


def _outputs(model: nn.Module, layers: Sequence[nn.Module], x: Tensor) -> list[list[tuple[int, ...]]]:
    """Return the shapes that every layer puts out in a forward pass in which nothing is dropped."""
    seen: list[list[tuple[int, ...]]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_hook(lambda _, __, out, home=home: home.append(tuple(out.shape)))
        for layer, home in zip(layers, seen, strict=True)
    ]
    try:
        with torch.no_grad(), replaced(model, lambda _, x: x):
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@contextmanager
def _tapped(layers: Sequence[nn.Module], nudges: Sequence[Tensor], into: dict[int, Tensor]) -> Iterator[None]:
    """Note what goes into every layer, and add a nudge to what it puts out."""

    def tap(place: int) -> Callable[..., Tensor]:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            into[place] = args[0]
            return output + nudges[place]

        return hook

    hooks = [layer.register_forward_hook(tap(place)) for place, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _without_nudges(module: GraphModule, count: int) -> Step:
    """Return the trace without its first inputs, which are zeros that are added to something."""
    graph = module.graph
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    for nudge in inputs[:count]:
        for user in list(nudge.users):
            user.replace_all_uses_with(_other(user, nudge))
            graph.erase_node(user)
        graph.erase_node(nudge)
    graph.set_codegen(CodeGen())
    pool_by_slices(module)
    graph.eliminate_dead_code()
    module.recompile()
    step: Step = module.forward
    return step


def _other(sum_: Node, nudge: Node) -> Node:
    """Return what a nudge is added to."""
    if sum_.target is not _ADD:
        raise NotImplementedError(f"a nudge must only be added, got {sum_.target}")
    first, second = sum_.args[:2]
    other = second if first is nudge else first
    assert isinstance(other, Node)
    return other
