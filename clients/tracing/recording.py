"""The operations of which a function of tensors consists, written down while it is called once.

``make_fx`` of torch writes down the same ones and is the oracle of the tests. It takes five times as long,
since it also follows shapes that are not known, which no step here has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from ...core.without_dynamo import without_dynamo

if TYPE_CHECKING:
    from torch._ops import OpOverload

_FRESH = torch.ops.aten.lift_fresh.default
"""What ``torch.tensor`` does to the numbers that it was given."""


def recorded(function: Callable[..., Sequence[Tensor]], given: Sequence[Tensor]) -> GraphModule:
    """Return what ``function(*given)`` does, as a module that does it to other values of the same shapes.

    Tensors that the function does not make, such as buffers, are the module's own. Every node's ``meta`` has
    ``form``: shape and strides of what it makes.

    Raises:
        RuntimeError: It draws, or reads a number out of a tensor: what it does then is not always the same.
    """
    tape = _Tape()
    inputs = [value.detach() for value in given]  # one that is given twice is two inputs
    for place, value in enumerate(inputs):
        tape.keep(value, tape.graph.placeholder(f"given_{place}"))
    with without_dynamo(), tape:
        results = function(*inputs)
    tape.graph.output([tape.node(value) for value in results])
    return GraphModule(tape.root, tape.graph)


def form(value: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a tensor's shape and strides."""
    return tuple(value.shape), value.stride()


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Write down every operation that is called.

    Attributes:
        graph: Those so far.
        root: Holds the tensors that none of them makes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.root = Graph(), nn.Module()
        self._nodes = WeakTensorKeyDictionary()
        self._made: set[int] = set()  # the storages of what operations make

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's compiler never meets a tape, and looking for it at every call takes time

    def __torch_dispatch__(
        self,
        func: OpOverload[Any, Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(f"{func} draws, and would draw anew whenever its trace is used")
        result = func(*args, **(kwargs or {}))
        if func.namespace == "prim":  # a device: a fact, and no number
            return result
        if func is _FRESH:
            self._made.discard(_storage(args[0]))
        inputs, named = tree_map_only(Tensor, self.node, (tuple(args), dict(kwargs or {})))
        node = self.graph.call_function(func, inputs, named)
        if isinstance(result, Tensor):
            self.keep(result, node)
        elif isinstance(result, list | tuple):
            for place, part in enumerate(result):
                self.keep(part, self.graph.call_function(operator.getitem, (node, place)))
        else:
            raise RuntimeError(f"{func} reads {result!r} out of a tensor, which a trace cannot follow")
        return result

    def keep(self, value: Tensor | None, node: Node) -> None:
        """Note which node makes a tensor."""
        if value is not None:
            node.meta["form"] = form(value)
            self._nodes[value] = node
            self._made.add(_storage(value))

    def node(self, value: Tensor) -> Node:
        """Return the node that makes a tensor, or one that holds it where none does.

        Raises:
            RuntimeError: It lies where what an operation made does, but none is known to have made it.
        """
        if value not in self._nodes:
            if _storage(value) in self._made:
                raise RuntimeError("a tensor was made out of another behind the trace's back")
            name = f"constant_{len(list(self.root.buffers()))}"
            self.root.register_buffer(name, value)
            self._nodes[value] = node = self.graph.get_attr(name)
            node.meta["form"] = form(value)
        found: Node = self._nodes[value]
        return found


def _storage(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)
