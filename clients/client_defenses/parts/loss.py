"""The loss of a client's examples, as a defense looks at it: by what labels and outputs look like."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ....core.errors import PluginError


def loss_at(model: nn.Module, params: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss of a model with other parameters: cross-entropy of classes, else squared error.

    Raises:
        PluginError: The model's outputs fit neither.
    """
    outputs: Tensor = functional_call(model, dict(params), (x,))
    if not y.is_floating_point() and outputs.ndim == y.ndim + 1:
        return functional.cross_entropy(outputs.movedim(-1, 1), y)
    if y.is_floating_point() and outputs.numel() == y.numel():
        return functional.mse_loss(outputs.reshape(y.shape), y)
    raise PluginError(
        f"this client defense needs classes or targets for its loss, got labels {list(y.shape)} of {y.dtype} "
        f"and outputs {list(outputs.shape)}"
    )
