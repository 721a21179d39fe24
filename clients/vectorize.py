"""Whether a block of clients is trained as one batched computation: a rule, never a measurement.

Stacking saves the cost of starting many small operations. A stack that outgrows the processor's cache pays
with memory traffic, so the larger the model, the lower the stack; and one client's convolutions of a large
batch are faster than all clients' as one grouped convolution (docs/performance.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ..core.errors import ScenarioError
from ..core.layout import Layout
from .stacked import can_stack

Vectorize = Literal["auto", "on", "off"]

STACK_PARAMETERS = 2**20  # of all clients of a stack together: 4 MiB, above which a CPU's cache overflows
TALLEST = 32  # clients
CONVOLVED = 20  # examples: the largest batch of which convolutions are stacked


@dataclass(frozen=True)
class Choice:
    """How clients are stacked, and why.

    Attributes:
        height: How many clients a batched computation takes at most; 1 trains one at a time.
        reason: One line for the log.
    """

    height: int
    reason: str

    @property
    def stacked(self) -> bool:
        """Whether a block is one batched computation."""
        return self.height > 1


def choose(
    setting: Vectorize,
    model: nn.Module,
    input_shape: Sequence[int] | None = None,
    batch_size: int = 0,
) -> Choice:
    """Return how clients with this model are stacked: equal arguments, equal answers, on any machine.

    Args:
        setting: What the scenario wants.
        model: The clients' model, in training mode.
        input_shape: The shape of one example; without it, no model with dropout is stacked.
        batch_size: Examples a local step; 0 for all that a client has.

    Raises:
        ScenarioError: ``"on"`` with a model that cannot be stacked.
    """
    if setting == "off":
        return Choice(1, "one client at a time: vectorize = off")
    if obstacle := can_stack(model, input_shape):
        if setting == "on":
            raise ScenarioError(f"vectorize = on cannot be: {obstacle}; use auto or off")
        return Choice(1, f"one client at a time: {obstacle}")
    convolves = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in model.modules())
    if setting == "auto" and convolves and not 0 < batch_size <= CONVOLVED:
        return Choice(1, f"one client at a time: convolutions of more than {CONVOLVED} examples")
    size = Layout.of(model).num_parameters
    height = max(2, min(TALLEST, STACK_PARAMETERS // size))
    return Choice(height, f"clients stacked by {height}: {size:,} parameters")
