"""What a model makes of inputs before its last layer, and what it predicts of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ....core.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor

    from ....core.observation import Observation


@dataclass(frozen=True)
class Seen:
    """What the last linear layer was given, and the probabilities that came out.

    Attributes:
        features: Its inputs.  # [n, F]
        predicted: The model's probabilities.  # [n, C]
    """

    features: Tensor
    predicted: Tensor


def seen_by_last_layer(observation: Observation, x: Tensor, params: Tensor | None = None) -> Seen:
    """Return what the model's last layer sees of inputs ``x`` [n, ...]; without gradients, in float32.

    Args:
        observation: Whose model; a copy of it is put into evaluation mode.
        x: Inputs.
        params: Other parameters of the model; by default those that were broadcast.  # [P]

    Raises:
        PluginError: The layer is used more or less than once, or not on one row of features an input.
    """
    model = copy.deepcopy(observation.model).eval()
    if params is not None:
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in observation.layout.views(params).items():
                own[name].copy_(value)
    stem = observation.layout.parameters[-1].name.rpartition(".")[0]
    entered: list[Tensor] = []
    model.get_submodule(stem).register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    with torch.no_grad():
        logits: Tensor = model(x)
    if len(entered) != 1 or entered[0].ndim != 2 or len(entered[0]) != len(x):
        raise PluginError("the model's last layer must be used once, on one row of features an example")
    return Seen(entered[0].float(), logits.float().softmax(dim=1))
