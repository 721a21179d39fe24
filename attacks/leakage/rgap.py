"""R-GAP: one example, layer by layer from the last to the first, each by a system of linear equations.

Source: Zhu, Blaschko. R-GAP: Recursive Gradient Attack on Privacy. ICLR 2021, Algorithm 1. arXiv:2010.07733.
There the classes are two and the last layer's input is found by a search; the closed form for more classes
and the weights of the equations are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional
from torch.nn.grad import conv2d_input

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction, rounding
from .parts.chain import Link, chain_of
from .parts.first_layer import taken_out
from .parts.labels import only_label, refuse_unreadable_label
from .parts.requirements import PLAIN_STEP, refuse_unmet

MOST_UNKNOWNS = 4096  # inputs of one layer: the equations are solved as a dense matrix
_RIDGE = 1e-13  # times the mean of the diagonal


@dataclass(frozen=True)
class RGap:
    """Rebuild one example from the gradients of linear layers and convolutions, without any search.

    Passive. Behind each layer but the last stands a sigmoid, a tanh or a leaky ReLU; the last is linear with
    a bias. Works where searches stall; the step size cancels, so it need not be known. A linear layer's bias
    gives its input away. Any other layer's input u solves, by least squares, W u + b = z, where z is what the
    activation was put to, and dW = sum of dz u; each equation counts as float32's rounding of the message
    leaves it to be trusted, from layer to layer. A layer must have at least as many equations as inputs, and
    at most 4096 inputs.

    ``cost`` is the largest relative residual of a layer's equations: about 0 for the truth. Where it is above
    ``tolerance``, or values lie outside their range, ``stopped`` is ``"not_certified"``. A residual bounds no
    error: layers whose equations hardly tell inputs apart can be solved well by other inputs.

    Attributes:
        tolerance: The residual up to which a result counts as proven, above 0.
    """

    tolerance: float = 1e-2

    exact: ClassVar[bool] = True
    lossless: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "client_defense")

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < inf:
            raise ValueError(f"tolerance must be above 0 and finite, got {self.tolerance}")

    def check(self, observation: Observation) -> None:
        links = chain_of(observation, "RGap").links
        names = {slot.name for slot in observation.layout.parameters}
        if wanted := [n for link in links if (n := f"{link.name}weight") not in names]:
            raise PluginError(f"RGap needs the gradients of all layers, {wanted[0]} is not trained")
        if f"{links[-1].name}bias" not in names:
            raise PluginError("RGap needs a bias on the last layer, the model's has none")
        for link in links[:-1]:
            name, inputs = link.name.rstrip("."), prod(link.input_shape)
            equations = prod(link.output_shape) + link.layer.weight.numel()
            if equations < inputs:
                raise PluginError(
                    f"RGap needs as many equations as inputs: layer {name} has {equations} for {inputs}"
                )
            if inputs > MOST_UNKNOWNS:
                raise PluginError(
                    f"RGap solves for at most {MOST_UNKNOWNS} inputs, layer {name} has {inputs}"
                )
        refuse_unreadable_label(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        chain = chain_of(observation, "RGap")
        gradient = -observation.update.double()  # up to the step size  # [P]
        views, noise = observation.layout.views(gradient), observation.layout.views(rounding(observation))
        cost, u, spread, upstream = 0.0, gradient, gradient, gradient  # of no layer yet
        for link in reversed(chain.links):
            bias, name = views.get(f"{link.name}bias"), f"{link.name}weight"
            target = views[name], noise[name]
            if bias is not None and isinstance(link.layer, nn.Linear):
                u, spread, upstream, rest = _read(link, bias, target)
            else:
                u, spread, upstream, rest = _solved(link, (u, spread), upstream, target)
            cost = max(cost, rest) if rest == rest else rest  # NaN stays
        x = ((u.reshape(chain.slope.shape) - chain.offset) / chain.slope).float()[None]
        low, high = observation.value_range
        slack = 0.01 * (high - low) if isfinite(high - low) else 0.0
        inside = bool(((x >= low - slack) & (x <= high + slack)).all())
        first = chain.links[0]
        hidden = isinstance(first.layer, nn.Linear) and taken_out(views[f"{first.name}weight"], observation)
        stopped = "closed_form" if cost <= self.tolerance and inside and not hidden else "not_certified"
        stopped = stopped if bool(x.isfinite().all()) else "nan"
        label = only_label(observation, gradient)
        return Reconstruction(x, label, cost, (cost,), stopped, {"layers": float(len(chain.links))})


def _read(link: Link, bias: Tensor, target: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return ``_solved`` of a linear layer with a bias: dW = db u says all, whatever stands behind it.

    Args:
        link: The layer.
        bias: The gradient of its bias; NaN comes out if the client sent nothing.
        target: The gradient of its weight, and the standard deviation of each entry.
    """
    change, size = target[0], bias.square().sum()  # [outputs, inputs]
    found = bias @ change / size  # rows weigh alike: the bias is rounded too
    spread = bias.square() @ target[1].square() / size.square()  # its variance  # [inputs]
    rest = (change - bias[:, None] * found).norm() / change.norm()
    return found, spread, bias @ link.layer.weight.detach().reshape(len(bias), -1), float(rest)


def _solved(
    link: Link, output: tuple[Tensor, Tensor], upstream: Tensor, target: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return a layer's input, its variances, the gradient by it, and the relative residual of the equations.

    Args:
        link: The layer.
        output: What its activation put out, flat, and the variances of that.
        upstream: The gradient by that, flat.
        target: The gradient of its weight, and the standard deviation of each entry.
    """
    put, slopes = link.activation.inverse(output[0]), link.activation.slope(output[0])
    own = (upstream * slopes).reshape(link.output_shape)  # dz
    with torch.no_grad():
        wanted = put - link.layer(torch.zeros(1, *link.input_shape, dtype=put.dtype)).flatten()
        first = _normal(_forward(link), wanted, _trust(output[1] / slopes.square()))
        second = _of_weight(link, own, target[0], _trust(target[1].square()))
        matrix, aim, norm = (one + other for one, other in zip(first, second, strict=True))
    if not bool(aim.isfinite().all()) or not bool(matrix.isfinite().all()):
        nothing = torch.full_like(aim, torch.nan)
        return nothing, nothing, nothing, float("nan")
    found, spread = _least_squares(matrix, aim)
    rest = (found @ matrix @ found - 2 * found @ aim + norm) / norm.clamp(min=1e-300)
    return found, spread, _forward(link).T @ own.flatten(), float(rest.clamp(min=0).sqrt())


def _trust(variances: Tensor) -> Tensor:
    """Return one over variances; at most a million million times the least."""
    return 1 / variances.clamp(min=1e-300).clamp(min=float(variances.max()) * 1e-12)


def _normal(matrix: Tensor, wanted: Tensor, trust: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return A^T W A, A^T W b and b^T W b of equations A u = b with weights W."""
    return matrix.T @ (matrix * trust[:, None]), matrix.T @ (wanted * trust), (trust * wanted.square()).sum()


def _forward(link: Link) -> Tensor:
    """Return the matrix of a layer without its bias.  # [outputs, inputs]"""
    if isinstance(link.layer, nn.Linear):
        return link.layer.weight.detach()
    inputs = prod(link.input_shape)
    basis = torch.eye(inputs, dtype=torch.float64).reshape(inputs, *link.input_shape)
    conv = link.layer
    out = functional.conv2d(basis, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return out.detach().flatten(1).T


def _of_weight(link: Link, own: Tensor, target: Tensor, trust: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``_normal`` of the equations A u = dW: a weight's gradient is linear in the layer's input.

    A is [weights, inputs], a row the transposed convolution of dz with one weight's direction; of a linear
    layer it is not made.
    """
    weight, conv, inputs = link.layer.weight, link.layer, (1, *link.input_shape)
    if not isinstance(conv, nn.Conv2d):
        norm = (trust * target.square()).sum()
        return (own.square() @ trust).diag(), own @ (trust * target), norm
    geometry = conv.stride, conv.padding, conv.dilation, conv.groups

    def row(direction: Tensor) -> Tensor:
        found: Tensor = conv2d_input(inputs, direction, own[None], *geometry)  # type: ignore[no-untyped-call]
        return found.flatten()

    basis = torch.eye(weight.numel(), dtype=own.dtype).reshape(-1, *weight.shape)
    return _normal(vmap(row, chunk_size=128)(basis), target.flatten(), trust.flatten())


def _least_squares(matrix: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """Return what solves normal equations, with the least ridge that makes them definite; its variances."""
    scale = matrix.diagonal().clamp(min=1e-300).rsqrt()
    matrix, aim = matrix * scale * scale[:, None], aim * scale  # with ones on the diagonal
    ridge, eye = _RIDGE, torch.eye(len(aim), dtype=aim.dtype)
    for _ in range(12):
        factor, failed = torch.linalg.cholesky_ex(matrix + ridge * eye)
        if not int(failed):
            break
        ridge *= 10
    found = torch.cholesky_solve(aim[:, None], factor)[:, 0]
    found = found + torch.cholesky_solve((aim - matrix @ found)[:, None], factor)[:, 0]
    return found * scale, torch.cholesky_inverse(factor).diagonal() * scale.square()
