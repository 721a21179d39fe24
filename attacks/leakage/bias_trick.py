"""The bias trick: a linear first layer with a bias gives its input away.

With h = W x + b and one example, the gradients are dW_i = d_i x and db_i = d_i for every neuron i, so that
x = dW_i / db_i wherever db_i is not 0. All neurons are used at once, by least squares.

Source: Phong, Aono, Hayashi, Wang, Moriai. Privacy-Preserving Deep Learning via Additively Homomorphic
Encryption. IEEE TIFS 2018, Section 3 (one neuron). Geiping, Bauermeister, Droege, Moeller. Inverting
Gradients. NeurIPS 2020, Proposition 3.1 (fully connected layers). arXiv:2003.14053
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction, noise_floor
from .parts.first_layer import first_layer, taken_out
from .parts.labels import only_label, refuse_unreadable_label
from .parts.requirements import PLAIN_STEP, refuse_unmet

CERTAIN = 0.01  # the relative residual up to which a result counts as proven


@dataclass(frozen=True)
class BiasTrick:
    """Rebuild one example exactly, without any search, from a biased linear first layer.

    Passive. The step size cancels, so it need not be known. One example a step only. What stands before
    the layer must act on each value alone as an affine map (a normalisation, flattening): it is measured
    and undone. A known label is taken as it is; it changes nothing else. ``cost`` is
    ||dW - db x^T||^2 / ||dW||^2: 0 for the true gradient of one example, more under noise or coarse codes.
    ``details["predicted_mse"]`` is what the float32 noise floor of the message leaves at most, in the units
    of the inputs: it grows as the step size falls. ``stopped`` is ``"not_certified"`` above a ``cost`` of
    0.01, behind a lossy codec (a projection of the inputs leaves no residual either), and where clients may
    have hidden inputs.
    """

    exact: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "client_defense")

    def check(self, observation: Observation) -> None:
        first_layer(observation, "BiasTrick")
        refuse_unreadable_label(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        name, slope, offset = first_layer(observation, "BiasTrick")
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
        proven = cost <= CERTAIN and not (observation.lossy or taken_out(weight, observation))
        stopped = ("closed_form" if proven else "not_certified") if bool(x.isfinite().all()) else "nan"
        return Reconstruction(x, label, cost, (cost,), stopped, details)
