"""Which device a run's clients train on, and how much of it a stack may fill.

Data, updates and everything that the server does stay in the machine's memory; what is trained on is copied
to the device, and updates are copied back. On CUDA, results agree with the CPU's to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...core.errors import ScenarioError
from ...core.layout import Layout
from ..data.blank import blank_inputs

if TYPE_CHECKING:
    from ...core.contracts import Device

_SHARE = 8  # of the free memory, one part in so many belongs to a stack: other workers share the device
_COPIES = (
    6  # of parameters (local, gradient, momentum, Adam's two, update) and of activations (and gradients)
)


def device_for(setting: Device, obstacle: str | None = None) -> str:
    """Return ``"cpu"`` or ``"cuda"``.

    Args:
        setting: What the scenario wants; ``"auto"`` takes a CUDA device where torch finds one.
        obstacle: Why these clients can train on the CPU alone, or None where they need not.

    Raises:
        ScenarioError: ``"cuda"`` where that cannot be.
    """
    if setting == "cpu":
        return "cpu"
    if obstacle is None and not torch.cuda.is_available():
        obstacle = "torch finds no CUDA device on this machine"
    if obstacle is None:
        return "cuda"
    if setting == "cuda":
        raise ScenarioError(f"device = cuda cannot be: {obstacle}; use auto or cpu")
    return "cpu"


def tallest(
    model: nn.Module, input_shape: Sequence[int], batch_size: int, dtype: torch.dtype = torch.float32
) -> int:
    """Return how many clients fit into a stack on the current CUDA device, at least 1: an estimate.

    Args:
        model: A model on the CPU.
        input_shape: The shape of one example.
        batch_size: Examples a local step, at least 1.
        dtype: The type of inputs.
    """
    free, _ = torch.cuda.mem_get_info()
    return max(1, free // _SHARE // client_bytes(model, input_shape, batch_size, dtype))


def client_bytes(
    model: nn.Module, input_shape: Sequence[int], batch_size: int, dtype: torch.dtype = torch.float32
) -> int:
    """Return about how many bytes a client of a stack takes: several times its parameters and activations."""
    values = 0

    def count(_layer: nn.Module, _inputs: object, output: object) -> None:
        nonlocal values
        values += output.numel() if isinstance(output, Tensor) else 0

    layers = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(blank_inputs(1, input_shape, dtype))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return 4 * _COPIES * (Layout.of(model).num_parameters + batch_size * values)


@contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Have CUDA's convolutions done one way and in full float32 inside the block; nothing on the CPU."""
    if device == "cpu":
        yield
        return
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside the block: the same sums on any machine, and no fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
