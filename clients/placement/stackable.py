"""Whether a block of clients is trained as one batched computation: a rule, never a measurement.

Stacking saves the cost of starting many small operations. A stack that outgrows the processor's cache pays
with memory traffic, so the larger the model, the lower the stack; and one client's convolutions of a large
batch are faster than all clients' as one grouped convolution (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from ...core.errors import ResultsError, ScenarioError, said
from ...core.layout import Layout
from ...core.without_dynamo import without_dynamo
from ..data.blank import blank_inputs
from ..tracing.dropout import cannot_draw
from .device import tallest

if TYPE_CHECKING:
    from ...core.contracts import Switch

STACK_PARAMETERS = 2**20  # of all clients of a stack together: 4 MiB, above which a CPU's cache overflows
TALLEST = 32  # clients
TALLEST_ON_CUDA = 64  # clients, where the device's memory holds as many
CONVOLVED = 20  # examples: the largest batch of which convolutions are stacked on a CPU
_KNOWN = ("torch", __name__.partition(".")[0])
_WHOLE = 512  # examples that a client is taken to have where a batch is all of them


@dataclass(frozen=True)
class Choice:
    """Where clients train, how they are stacked, and why.

    Attributes:
        height: How many clients a batched computation takes at most; 1 trains one at a time.
        reason: One line for the log.
        device: ``"cpu"`` or ``"cuda"``.
        compiled: Whether the batched computation is compiled.
    """

    height: int
    reason: str
    device: str = "cpu"
    compiled: bool = False

    @property
    def stacked(self) -> bool:
        """Whether a block is one batched computation."""
        return self.height > 1

    @property
    def stored(self) -> dict[str, Any]:
        """What of it a run keeps, so that it goes on as it began."""
        return {"device": self.device, "height": self.height, "compiled": self.compiled}

    def like(self, begun: Mapping[str, Any] | None) -> Choice:
        """Return the choice of the rest of a run that began with ``begun``: stacks as high as they were."""
        if begun is None or self.device == "cpu":
            return self
        return replace(self, height=int(begun["height"])) if self.stacked else self


def begun_on(begun: Mapping[str, Any] | None) -> Literal["cpu", "cuda"] | None:
    """Return the device on which a run began.

    Raises:
        ResultsError: ``begun`` is not what a run stores.
    """
    if begun is None:
        return None
    known: Any = begun if isinstance(begun, Mapping) else {}
    height, compiled = known.get("height"), known.get("compiled")
    right = type(height) is int and 1 <= height <= TALLEST_ON_CUDA and type(compiled) is bool
    if not right or known.get("device") not in ("cpu", "cuda"):
        raise ResultsError(f"a run's manifest has training {begun!r}: that is none of this version's")
    found: Literal["cpu", "cuda"] = known["device"]
    return found


def can_stack(
    model: nn.Module, input_shape: Sequence[int] | None = None, dtype: torch.dtype = torch.float32
) -> str | None:
    """Return why a model cannot be stacked, or None where it can.

    Args:
        model: A model in training mode.
        input_shape: The shape of one example; without it, no model with dropout can be stacked.
        dtype: The type of inputs.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            return "batch statistics are changed in place"
        if isinstance(module, nn.RNNBase):
            return "recurrent layers have no batching rule"
    obstacle = cannot_draw(model, input_shape, dtype)
    return _refused_by_torch(model, input_shape, dtype) if obstacle is None else obstacle


def _refused_by_torch(model: nn.Module, input_shape: Sequence[int] | None, dtype: torch.dtype) -> str | None:
    """Return why torch does not differentiate a stack of two of this model, or None where it does.

    Tried where a module is neither torch's nor this package's: its own ``autograd.Function`` may have no
    batching rule, or its forward may ask what a value is.
    """
    strange = any(type(m).__module__.partition(".")[0] not in _KNOWN for m in model.modules())
    trained = {n: p.detach().expand(2, *p.shape) for n, p in model.named_parameters() if p.requires_grad}
    if input_shape is None or not strange or not trained:
        return None

    def loss(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = functional_call(model, params, (x,))
        return outputs.float().sum()

    x = blank_inputs(4, input_shape, dtype, next(iter(trained.values())).device).reshape(2, 2, *input_shape)
    try:
        with torch.random.fork_rng(devices=[]), without_dynamo():
            vmap(grad(loss), randomness="different")(trained, x)
    except Exception as error:
        return f"torch cannot batch a layer of its own: {said(error, named=False, most=160)}"
    return None


def convolves(model: nn.Module) -> bool:
    """Return whether a model has a convolution."""
    return any(isinstance(layer, nn.modules.conv._ConvNd) for layer in model.modules())


def choose(
    setting: Switch,
    model: nn.Module,
    input_shape: Sequence[int] | None = None,
    batch_size: int = 0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Choice:
    """Return how clients with this model are stacked: on the CPU, equal arguments, equal answers, anywhere.

    Args:
        setting: What the scenario wants.
        model: The clients' model, in training mode.
        input_shape: The shape of one example; without it, no model with dropout is stacked.
        batch_size: Examples a local step; 0 for all that a client has.
        device: Where they train; on ``"cuda"``, its free memory has a say.
        dtype: The type of inputs.

    Raises:
        ScenarioError: ``"on"`` with a model that cannot be stacked.
    """
    obstacle = "vectorize = off" if setting == "off" else can_stack(model, input_shape, dtype)
    if setting == "on" and obstacle:
        raise ScenarioError(f"vectorize = on cannot be: {obstacle}; use auto or off")
    if setting == "auto" and device == "cpu" and convolves(model) and not 0 < batch_size <= CONVOLVED:
        obstacle = obstacle or f"convolutions of more than {CONVOLVED} examples"
    where = "" if device == "cpu" else f" on {device}"
    if obstacle:
        return Choice(1, f"one client at a time{where}: {obstacle}", device)
    size = Layout.of(model).num_parameters
    if device == "cuda":
        assert input_shape is not None, "the memory of a stack is reckoned from one example's shape"
        height = min(TALLEST_ON_CUDA, tallest(model, input_shape, batch_size or _WHOLE, dtype))
    else:
        height = max(2, min(TALLEST, STACK_PARAMETERS // size))
    return Choice(height, f"clients stacked by {height}{where}: {size:,} parameters", device)
