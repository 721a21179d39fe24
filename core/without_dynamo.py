"""Gradients of ``torch.func`` without torch's compiler, which they import, for a second, for one switch.

``torch.func.grad`` and ``vjp`` turn compiled autograd off around ``torch.autograd.grad``, and thereby import
``torch._dynamo``. As long as nobody has imported it there is nothing to turn off.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._functorch import eager_transforms

_ANY: Any = eager_transforms
_DYNAMO, _INNER = "torch._dynamo", "_autograd_grad"


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Let ``torch.func`` take gradients within without importing torch's compiler; the same operations.

    Where the compiler is there already, or a version of torch is built otherwise, nothing is changed.
    """
    before = getattr(_ANY, _INNER, None)
    if _DYNAMO in sys.modules or before is None or before is _gradients:
        yield
        return
    setattr(_ANY, _INNER, _gradients)
    try:
        yield
    finally:
        setattr(_ANY, _INNER, before)


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor] | None = None,
    retain_graph: bool = False,
    create_graph: bool = True,
) -> tuple[Tensor, ...]:
    """Do what torch's own does; inputs on which nothing depends have zeros."""
    places = [place for place, output in enumerate(outputs) if output.requires_grad]
    if not places:
        return tuple(map(torch.zeros_like, inputs))
    found = torch.autograd.grad(
        [outputs[place] for place in places],
        inputs,
        None if grad_outputs is None else [grad_outputs[place] for place in places],
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
    )
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True))
