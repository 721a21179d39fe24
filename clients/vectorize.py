"""Whether a block of clients is trained as one batched computation: a rule, never a measurement.

Stacking saves the cost of starting many small operations and pays with memory traffic. So it wins for small
dense models; for large ones and for convolutions on a CPU, one client at a time stays in the cache.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ..core.errors import ScenarioError
from ..core.layout import Layout
from .stacked import can_stack

Vectorize = Literal["auto", "on", "off"]

LARGEST = 200_000  # parameters, above which one client at a time is faster on a CPU (docs/performance.md)


@dataclass(frozen=True)
class Choice:
    """Whether to stack clients, and why.

    Attributes:
        stacked: Whether a block is one batched computation.
        reason: One line for the log.
    """

    stacked: bool
    reason: str


def choose(setting: Vectorize, model: nn.Module) -> Choice:
    """Return whether clients with this model are stacked: equal arguments, equal answers, on any machine.

    Raises:
        ScenarioError: ``"on"`` with a model that cannot be stacked.
    """
    if setting == "off":
        return Choice(False, "one client at a time: vectorize = off")
    if obstacle := can_stack(model):
        if setting == "on":
            raise ScenarioError(f"vectorize = on cannot be: {obstacle}; use auto or off")
        return Choice(False, f"one client at a time: {obstacle}")
    if setting == "on":
        return Choice(True, "clients stacked: vectorize = on")
    size = Layout.of(model).num_parameters
    if any(isinstance(m, nn.modules.conv._ConvNd) for m in model.modules()):
        return Choice(False, "one client at a time: convolutions are faster so on a CPU")
    if size > LARGEST:
        return Choice(False, f"one client at a time: {size:,} parameters are above {LARGEST:,}")
    return Choice(True, f"clients stacked: {size:,} parameters in dense layers")
