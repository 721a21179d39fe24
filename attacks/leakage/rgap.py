"""R-GAP: one example, layer by layer from the last to the first, by linear equations alone.

A convolution's input u solves two systems: its output, which the layer above gives, is conv(u; W) + b; and
the weights' gradient is the sum over positions of upstream gradients times patches of u.

Source: Zhu, Blaschko. R-GAP: Recursive Gradient Attack on Privacy. ICLR 2021. arXiv:2010.07733. That the last
layer's bias gives its input and upstream gradients for many classes is ours, after the bias trick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.chain import ACTIVATIONS, Link, chain_of
from .parts.labels import only_label, refuse_unreadable_label
from .parts.requirements import PLAIN_STEP, refuse_unmet

RIDGE = 1e-13  # of the mean diagonal of the normal equations
PIECE = 256  # unknowns whose equations are written down at once


@dataclass(frozen=True)
class RGap:
    """Rebuild one example without any search, behind convolutions, linear layers and invertible activations.

    Passive, on one plain step. The step size cancels. The last layer must be linear with a bias; activations
    may be sigmoid, tanh or leaky ReLU; convolutions must give as many equations as they have inputs. What
    stands before the first layer must act on each value alone as an affine map: it is undone. ``cost`` is the
    relative residual of the first layer's equations; above ``tolerance`` ``stopped`` is ``"not_certified"``.

    Attributes:
        tolerance: The residual up to which a result counts as proven, above 0.
    """

    tolerance: float = 1e-2

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be above 0, got {self.tolerance}")

    def check(self, observation: Observation) -> None:
        chain_of(observation, "RGap")
        refuse_unreadable_label(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        links, slope, offset = chain_of(observation, "RGap")
        gradient = -observation.update.double()  # up to the step size  # [P]
        views = observation.layout.views(gradient)
        above, cost = torch.full(links[-1].left, torch.nan, dtype=torch.float64), float("nan")
        upstream = above
        for link in reversed(links):
            above, upstream = above.reshape(link.left), upstream.reshape(link.left)
            above, upstream, cost = undone(link, above, upstream, views, cost)
        x = ((above.reshape(observation.input_shape) - offset) / slope).float()[None]
        label = only_label(observation, gradient)
        known = bool(x.isfinite().all())
        stopped = ("closed_form" if cost <= self.tolerance else "not_certified") if known else "nan"
        return Reconstruction(x, label, cost, (cost,), stopped, {})


def undone(
    link: Link, output: Tensor, upstream: Tensor, views: Mapping[str, Tensor], cost: float
) -> tuple[Tensor, Tensor, float]:
    """Return a layer's input, the gradient of the loss by it, and the residual of its equations.

    Args:
        link: The layer.
        output: What it put out; NaN of the last layer, whose bias is enough.
        upstream: The gradient of the loss by that, likewise.
        views: The gradients of all parameters by name, up to one factor for all.
        cost: The residual of the layer above, returned where this one has no equations.
    """
    module, prefix = link.module, f"{link.name}." if link.name else ""
    if type(module) in ACTIVATIONS:
        inverse, steepness = ACTIVATIONS[type(module)]
        return inverse(output, module), upstream * steepness(output, module), cost
    weight = module.weight.detach()  # type: ignore[operator]
    change = views[f"{prefix}weight"]
    if isinstance(module, nn.Linear):
        upstream = views.get(f"{prefix}bias", upstream).flatten()
        found = upstream @ change / upstream.square().sum()
        residual = (change - upstream[:, None] * found).norm() / change.norm()
        return found, upstream @ weight, float(residual)
    assert isinstance(module, nn.Conv2d)
    bias = 0 if module.bias is None else module.bias.detach()[:, None, None]
    found, residual = solved(module, link.entered, output - bias, upstream, change)
    with torch.enable_grad():
        entered = found[None].clone().requires_grad_()
        (below,) = torch.autograd.grad(_convolved(module, entered), entered, upstream[None])
    return found, below[0], float(residual)


def solved(
    module: nn.Conv2d, shape: tuple[int, ...], output: Tensor, upstream: Tensor, change: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a convolution's input by least squares, and the relative residual.

    Args:
        module: The convolution.
        shape: The input's shape.
        output: Its output without the bias.  # [C_out, H_out, W_out]
        upstream: The gradient of the loss by the output.  # [C_out, H_out, W_out]
        change: The gradient of the loss by the weights.  # [C_out, C_in, k, k]
    """
    size = int(np.prod(shape))
    units = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    forward, backward = [], []
    for start in range(0, size, PIECE):
        part = units[start : start + PIECE]
        forward.append(_convolved(module, part).flatten(1))
        patches = functional.unfold(
            part,
            module.kernel_size,
            module.dilation,
            module.padding,  # type: ignore[arg-type]
            module.stride,
        )  # [n, C_in k k, positions]
        backward.append(torch.einsum("op,nkp->nok", upstream.flatten(1), patches).flatten(1))
    blocks = [(torch.cat(forward), output.flatten()), (torch.cat(backward), change.flatten())]
    blocks = [(a / a.norm(), y / a.norm()) for a, y in blocks]  # [unknowns, equations], [equations]
    a, y = torch.cat([a for a, _ in blocks], dim=1), torch.cat([y for _, y in blocks])
    squares = a @ a.T
    squares.diagonal().add_(RIDGE * squares.diagonal().mean())
    factor = torch.linalg.cholesky_ex(squares).L
    found = torch.cholesky_solve((a @ y)[:, None], factor)[:, 0]
    return found.reshape(shape), (found @ a - y).norm() / y.norm()


def _convolved(module: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the convolution of x without its bias."""
    weight = module.weight.detach()
    return functional.conv2d(x, weight, None, module.stride, module.padding, module.dilation)
