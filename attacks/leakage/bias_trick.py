"""The bias trick: a linear first layer with a bias gives its input away.

With h = W x + b and one example, the gradients are dW_i = d_i x and db_i = d_i for every neuron i, so that
x = dW_i / db_i wherever db_i is not 0. All neurons are used at once, by least squares.

Source: Phong, Aono, Hayashi, Wang, Moriai. Privacy-Preserving Deep Learning via Additively Homomorphic
Encryption. IEEE TIFS 2018, Section 3 (one neuron). Geiping, Bauermeister, Droege, Moeller. Inverting
Gradients. NeurIPS 2020, Proposition 3.1 (fully connected layers). arXiv:2003.14053
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction, noise_floor
from .labels import only_label, refuse_unreadable_label
from .requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class BiasTrick:
    """Rebuild one example exactly, without any search, from a biased linear first layer.

    Passive. The step size cancels, so it need not be known. One example a step only. What stands before
    the layer must act on each value alone as an affine map (a normalisation, flattening): it is measured
    and undone. A known label is taken as it is; it changes nothing else. ``cost`` is
    ||dW - db x^T||^2 / ||dW||^2: 0 for the true gradient of one example, more under noise or coarse codes.
    ``details["predicted_mse"]`` is what the float32 noise floor of the message leaves at most, in the units
    of the inputs: it grows as the step size falls.
    """

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)

    def check(self, observation: Observation) -> None:
        _first_layer(observation)
        refuse_unreadable_label(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        name, slope, offset = _first_layer(observation)
        gradient = -observation.update.double()  # up to the step size  # [P]
        views = observation.layout.views(gradient)
        weight, bias = views[f"{name}weight"], views[f"{name}bias"]  # [H, F], [H]
        features = bias @ weight / bias.square().sum()  # [F]; NaN if the client sent nothing
        residual = (weight - bias[:, None] * features).square().sum() / weight.square().sum()
        floor = noise_floor(observation)
        noise = floor[f"{name}weight"] ** 2 + (floor[f"{name}bias"] * features) ** 2  # [F]
        details = {"predicted_mse": float((noise / bias.square().sum() / slope**2).mean())}
        x = ((features - offset) / slope).float().reshape(1, *observation.input_shape)
        label = only_label(observation, gradient)
        cost = float(residual)
        stopped = "closed_form" if bool(x.isfinite().all()) else "nan"
        return Reconstruction(x, label, cost, (cost,), stopped, details)


def _first_layer(observation: Observation) -> tuple[str, Tensor, Tensor]:
    """Return the first layer's prefix in the layout, and its input's slope and offset in x.  # [F]"""
    model = copy.deepcopy(observation.model).eval()
    owners = ((n, m) for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None)
    name, layer = next(owners, ("", model))
    prefix = f"{name}." if name else ""
    names = {slot.name for slot in observation.layout.parameters}
    if not isinstance(layer, nn.Linear) or not {f"{prefix}weight", f"{prefix}bias"} <= names:
        raise PluginError(
            f"BiasTrick needs a trainable linear first layer with a bias, the model starts with {layer}"
        )
    numel = int(np.prod(observation.input_shape))
    probe = torch.stack([torch.zeros(numel), torch.ones(numel), torch.linspace(0.1, 0.9, numel)])  # [3, F]
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(probe.reshape(3, *observation.input_shape))
    if len(seen) != 1:
        raise PluginError(f"BiasTrick needs a first layer that is used once, it is used {len(seen)} times")
    entered = seen[0].double()
    if entered.shape != probe.shape:
        raise PluginError(
            f"BiasTrick needs a first layer that sees all {numel} values, it sees {list(entered.shape)}"
        )
    offset, slope = entered[0], entered[1] - entered[0]
    if bool((slope == 0).any()) or not torch.allclose(entered[2], offset + slope * probe[2], atol=1e-4):
        raise PluginError(
            "BiasTrick needs a first layer whose input is an affine map of each value of x alone"
        )
    return prefix, slope, offset
