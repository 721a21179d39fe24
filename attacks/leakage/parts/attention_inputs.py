"""Which linear layers of a model read one tensor, as queries, keys and values do, and that tensor.

Source: Vaswani et al. Attention Is All You Need. NeurIPS 2017, Section 3.2. arXiv:1706.03762. Layers are told
by what they are handed, in the order of their calls, and not by their names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import torch
from torch import Tensor, nn


class _Seen(Exception):
    """Ends a pass of the model: what was asked for has been computed."""


def attention_inputs(model: nn.Module, example: Tensor) -> list[tuple[str, ...]]:
    """Return the names of the linear layers that read the input of an attention, in the order of the pass.

    Two or more layers that read one tensor in a row, or one whose output is three times as wide. A layer
    within a linear one is its adapter's, and counts with it.

    Args:
        model: It is run once, in eval mode.
        example: A sequence of tokens.  # [1, S]
    """
    groups = [list(found) for _, found in groupby(_calls(model, example), key=lambda call: id(call[1]))]
    return [
        tuple(name for name, _, _ in found)
        for found in groups
        if len(found) > 1 or found[0][2] == 3 * found[0][1].shape[-1]
    ]


def residual_writers(model: nn.Module, example: Tensor, width: int, last: str) -> list[str]:
    """Return the names of the linear layers that add to the stream of a width, in the order of the pass.

    Those that narrow to it, as feed-forward layers end; where there are none, all of that many outputs but
    the ``last`` and those that read for an attention.
    """
    apart = {last, *(name for names in attention_inputs(model, example) for name in names)}
    found = [(n, x.shape[-1]) for n, x, out in _calls(model, example) if out == width and n not in apart]
    return [n for n, size in found if size > width] or [n for n, _ in found]


def _calls(model: nn.Module, example: Tensor) -> list[tuple[str, Tensor, int]]:
    """Return each linear layer's name, input and number of outputs, in the order of the pass."""
    calls: list[tuple[str, Tensor, int]] = []

    def seen(name: str, layer: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_pre_hook(
            lambda _, args: calls.append((name, args[0], layer.out_features))
        )

    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    handles = [seen(n, m) for n, m in linear.items() if n.rpartition(".")[0] not in linear]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def input_of(model: nn.Module, name: str, x: Tensor, size: int = 512) -> Tensor:
    """Return what a layer is handed for sequences x [B, S]; later layers are not run.  # [B, S, d]

    Args:
        model: In eval mode.
        name: The layer's, among the model's modules.
        x: Sequences of tokens.  # [B, S]
        size: How many sequences are run at once.
    """
    found: list[Tensor] = []
    with torch.no_grad(), _stopping(model.get_submodule(name), found):
        for part in torch.split(x, size):
            try:
                model(part)
            except _Seen:
                continue
    return torch.cat(found)


@contextmanager
def _stopping(layer: nn.Module, found: list[Tensor]) -> Iterator[None]:
    def stop(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        found.append(args[0].detach())
        raise _Seen

    handle = layer.register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()
