"""What a client minimises: the mean loss of a batch, by name."""

from collections.abc import Callable, Mapping

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
