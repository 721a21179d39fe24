"""Read the imprint block's bins: the gradients of two rows that follow each other differ by a bin's examples.

Source: Fowl, Geiping, Czaja, Goldblum, Goldstein. Robbing the Fed: Directly Obtaining Private Data in
Federated Learning with Modified Models. ICLR 2022, Equation 4. arXiv:2110.13057. What float32 leaves of it is
predicted as ``core.observation.rounding`` says, which is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction, rounding
from .parts.labels import batch_labels, refuse_unreadable_label
from .parts.ratios import Ratios, batch_of, inside, ratios
from .parts.requirements import PLAIN_STEP, refuse_unmet


@dataclass(frozen=True)
class ImprintBins:
    """Rebuild every example that is alone in its bin, also out of a sum over many clients.

    For what clients of the server ``imprint`` send after one step. The step size cancels. A bin of several
    examples gives a mixture of them: it is known for one where it lies outside of the inputs' range or its
    own measurement outside of the bin, so that those mixtures stay unseen whose examples pull the same way.
    What no bin gives is filled with the mean of the others.

    ``details``: ``occupied`` (bins that hold something), ``certified`` (of these, such as may be one
    example), ``predicted_mse`` (the median of what float32 alone leaves in these, in units of the inputs),
    ``lost`` (of these, such in which it leaves an error above 1 % of the range), and by its number what it
    leaves in each of these, ``bin_17``. ``cost`` is the share of the examples asked for that are not
    certified.
    """

    exact: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, object]] = {"server": "imprint", "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "lr")
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def check(self, observation: Observation) -> None:
        refuse_unreadable_label(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        found = occupied_bins(observation)
        alone = may_be_one(found, observation) & (not observation.lossy)
        certified = found.only(alone)
        share = found.weight / found.weight.max() if len(alone) else found.weight
        first = (alone + share).argsort(descending=True)  # certified ones, then by how far they moved
        x = batch_of(found.x[first], observation)
        low, high = observation.value_range
        lost = certified.predicted_mse.sqrt() > 0.01 * (high - low)
        counts = {"occupied": len(alone), "certified": len(certified.x), "lost": int(lost.sum())}
        details = {name: float(number) for name, number in counts.items()}
        if len(certified.x):
            details["predicted_mse"] = float(certified.predicted_mse.median())
            numbered = zip(certified.rows.tolist(), certified.predicted_mse.tolist(), strict=True)
            details |= {f"bin_{number}": left for number, left in numbered}
        cost = 1 - min(len(certified.x), len(x)) / len(x)
        stopped = "closed_form" if len(certified.x) else "not_certified"
        stopped = stopped if bool(x.isfinite().all()) else "nan"
        return Reconstruction(x, batch_labels(observation, x), cost, (cost,), stopped, details)


def occupied_bins(observation: Observation) -> Ratios:
    """Return what the bins give in which something is, in their order.

    Rows between which a client has no example move alike and are rounded alike. So of a sum over clients the
    rounding of one stays in a bin: of the client whose example it holds.
    """
    layer = observation.planted["layer"]
    moved = observation.layout.views(observation.update.double())
    blurred = observation.layout.views(rounding(observation).square() / observation.contributors)
    weight, bias = f"{layer}.weight", f"{layer}.bias"
    return ratios(
        _differences(moved[weight], -1),
        _differences(moved[bias], -1),
        _differences(blurred[weight], 1),
        _differences(blurred[bias], 1),
    )


def _differences(rows: Tensor, sign: int) -> Tensor:
    """Return each row plus ``sign`` times the next one; the last as it is.  # like rows"""
    following = torch.cat([rows[1:], torch.zeros_like(rows[:1])])
    return rows + sign * following


def may_be_one(found: Ratios, observation: Observation) -> Tensor:
    """Return which bins give an input whose measurement lies in the bin, up to rounding, bool.  # [n]"""
    layer, own = observation.planted["layer"], dict(observation.model.named_parameters())
    weight, bias = own[f"{layer}.weight"].detach().double(), own[f"{layer}.bias"].detach().double()
    measured = found.x @ weight[0]  # [n]
    upper = torch.cat([-bias[1:], torch.full((1,), torch.inf, dtype=torch.float64)])
    slack = 6 * found.predicted_mse.sqrt() * weight[0].abs().sum() + 1e-6 * bias.abs().max()
    above = measured > -bias[found.rows] - slack
    below = measured <= upper[found.rows] + slack
    width = prod(observation.input_shape)
    fits = found.x.shape[1] == width
    return inside(found, observation.value_range) & above & below & fits
