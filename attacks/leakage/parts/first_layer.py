"""A model's linear first layer, and how what it sees follows from the inputs."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from ....core.errors import PluginError
from ....core.observation import Observation


def taken_out(weight: Tensor, observation: Observation) -> bool:
    """Return whether inputs may have been taken out of a dense first layer's gradient.  # [H, F]

    A whole column of 0 is an input of 0, or one that the clients hid (as ``soteria`` and pruning do). No
    residual tells one from the other, so that it proves nothing unless there is surely no such defense.
    """
    return observation.knowledge.client_defense != "none" and bool((weight == 0).all(dim=0).any())


def first_layer(observation: Observation, who: str) -> tuple[str, Tensor, Tensor]:
    """Return the first layer's prefix in the layout, and its input's slope and offset in x.  # [F]

    Raises:
        PluginError: It is no linear layer, or has no bias, or sees something else than each value of x by
            itself, times a slope plus an offset; ``who`` needs it.
    """
    model = copy.deepcopy(observation.model).eval()
    owners = ((n, m) for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None)
    name, layer = next(owners, ("", model))
    prefix = f"{name}." if name else ""
    names = {slot.name for slot in observation.layout.parameters}
    if not isinstance(layer, nn.Linear) or not {f"{prefix}weight", f"{prefix}bias"} <= names:
        raise PluginError(
            f"{who} needs a trainable linear first layer with a bias, the model starts with {layer}; "
            "an attack that searches, such as inverting_gradients, needs neither"
        )
    numel = int(np.prod(observation.input_shape))
    probe = torch.stack([torch.zeros(numel), torch.ones(numel), torch.linspace(0.1, 0.9, numel)])  # [3, F]
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(probe.reshape(3, *observation.input_shape))
    if len(seen) != 1:
        raise PluginError(f"{who} needs a first layer that is used once, it is used {len(seen)} times")
    entered = seen[0].double()
    if entered.shape != probe.shape:
        raise PluginError(
            f"{who} needs a first layer that sees all {numel} values, it sees {list(entered.shape)}"
        )
    offset, slope = entered[0], entered[1] - entered[0]
    if bool((slope == 0).any()) or not torch.allclose(entered[2], offset + slope * probe[2], atol=1e-4):
        raise PluginError(f"{who} needs a first layer whose input is an affine map of each value of x alone")
    return prefix, slope, offset
