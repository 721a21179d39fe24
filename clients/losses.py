"""What a client minimises: the mean loss of a batch, by name."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..core.errors import ScenarioError
from .data.base import targets_of

Loss = Callable[[Tensor, Tensor], Tensor]
"""From the model's output and the labels, or targets, of a batch to their mean loss."""

LABELS: Mapping[str, Loss] = {"cross_entropy": nn.functional.cross_entropy}
NUMBERS: Mapping[str, Loss] = {"mse": nn.functional.mse_loss, "mae": nn.functional.l1_loss}
"""Over examples and outputs alike."""


def loss_name(wanted: str, data: object) -> str:
    """Return the loss that these data are trained with; ``"auto"`` is the first of their kind.

    Raises:
        ScenarioError: A loss for labels with real-valued targets, or the other way round.
    """
    allowed = LABELS if targets_of(data) is None else NUMBERS
    if wanted == "auto":
        return next(iter(allowed))
    if wanted not in allowed:
        kind = "labels" if targets_of(data) is None else "real-valued targets"
        raise ScenarioError(
            f"training.loss '{wanted}' does not go with {kind}; allowed here: auto, {', '.join(allowed)}"
        )
    return wanted


def loss_of(name: str) -> Loss:
    """Return a loss by its name."""
    return {**LABELS, **NUMBERS}[name]


def terms(name: str, output: Tensor, target: Tensor) -> Tensor:
    """Return what a traced step adds up, times ``factors``: log-probabilities, or how far each output is off.

    Args:
        name: The loss.
        output: The model's output.  # [..., C or D]
        target: Minus an example's weight, at its label [..., C], and possibly behind it which labels count
            (1) and whose logits are 0 (0) [..., 2 C]; or its numbers, and behind them its weight.
            # [..., D + 1]
    """
    if name in LABELS:
        classes = output.shape[-1]
        counted = output if target.shape[-1] == classes else output * target[..., classes:]
        return torch.log_softmax(counted, dim=-1)
    off = output - target[..., :-1]
    return off.abs() if name == "mae" else off.square()


def factors(name: str, output: Tensor, target: Tensor) -> Tensor:
    """Return what ``terms`` are multiplied by, in the shape of the output."""
    if name in LABELS:
        return target[..., : output.shape[-1]]
    return target[..., -1:].expand_as(output) / output.shape[-1]
