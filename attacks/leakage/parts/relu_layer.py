"""A linear first layer with a ReLU behind it, and its gradients as a product of two thin matrices.

With inputs X [B, D] and upstream gradients E [m, B], the gradients of m units are [dW, db] = E [X, 1]. Their
rank is the number of examples, and E is 0 wherever a unit is off.

Source: Dimitrov, Baader, Mueller, Vechev. SPEAR: Exact Gradient Inversion of Batches in Federated Learning.
NeurIPS 2024, Section 3. arXiv:2403.03945. That db is a further column of dW is ours.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ....core.errors import PluginError
from ....core.observation import rounding
from ....core.seeds import generator
from .first_layer import first_layer

if TYPE_CHECKING:
    from torch import Tensor

    from ....core.observation import Observation


@dataclass(frozen=True)
class ReluLayer:
    """What a message says of the layer, in float64 and up to one positive factor for all.

    Attributes:
        gradient: The gradients [dW, db].  # [m, D + 1]
        live: The units whose gradients are not 0, bool.  # [m]
        left: An orthonormal basis of the columns of the live units' gradients.  # [l, r]
        sizes: Its singular values, descending.  # [r]
        right: The orthonormal basis of their rows.  # [r, D + 1]
        noise: The standard deviation that float32 leaves in an entry of each live unit's gradient.  # [l]
        weight: W, as it was broadcast.  # [m, D]
        bias: b, likewise.  # [m]
        slope, offset: What the layer sees is slope x + offset, with x the model's input.  # [D], [D]
    """

    gradient: Tensor
    live: Tensor
    left: Tensor
    sizes: Tensor
    right: Tensor
    noise: Tensor
    weight: Tensor
    bias: Tensor
    slope: Tensor
    offset: Tensor

    @property
    def rank(self) -> int:
        """r, the number of independent examples."""
        return len(self.sizes)

    @property
    def most(self) -> int:
        """From which rank on the gradients say nothing: the least of the live units and D + 1."""
        return min(len(self.left), len(self.slope) + 1)

    def cut(self, rank: int) -> ReluLayer:
        """Return the same of at most this rank: of one example, whatever noise adds to it."""
        return replace(self, left=self.left[:, :rank], sizes=self.sizes[:rank], right=self.right[:rank])


def refuse_without_relu(observation: Observation, who: str) -> None:
    """Refuse a model of another kind, by what its first layer's outputs do to the model's.

    Raises:
        PluginError: The first layer is not linear with a bias on each value of x (see ``first_layer``), or
            an output below 0 changes what the model puts out, or one above 0 does not.
    """
    name = first_layer(observation, who)[0].removesuffix(".")
    model = copy.deepcopy(observation.model).eval()
    seen: list[Tensor] = []

    def replaced(_: object, __: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    dict(model.named_modules())[name].register_forward_hook(replaced)
    stream = generator(0, "relu_layer")
    x = torch.from_numpy(stream.normal(0.5, 2.0, (16, *observation.input_shape))).to(observation.update.dtype)
    with torch.enable_grad():
        logits = model(x)
        probe = torch.from_numpy(stream.standard_normal(tuple(logits.shape))).to(logits.dtype)
        (slopes,) = torch.autograd.grad((logits * probe).sum(), seen[0], allow_unused=True)
    off, on = seen[0] < 0, seen[0] > 0
    slopes = torch.zeros_like(seen[0]) if slopes is None else slopes
    if bool((slopes[off] != 0).any()) or float((slopes[on] != 0).float().mean()) < 0.5:
        raise PluginError(
            f"{who} needs a ReLU behind the first layer, so that a unit that is off has no gradient; "
            "here units below 0 have one, or those above 0 have none; an attack that searches, such as dlg, "
            "needs no ReLU"
        )


def relu_layer(observation: Observation, who: str) -> ReluLayer:
    """Return the layer's gradients and their factors, of the rank that float32 leaves to be seen.

    What rounding moves the gradients by is below the root of the sum of its variances; singular values below
    that are noise.

    Raises:
        PluginError: See ``first_layer``.
    """
    prefix, slope, offset = first_layer(observation, who)
    gradient = _rows(observation, -observation.update.double(), prefix)
    spread = _rows(observation, rounding(observation), prefix)
    live = (gradient != 0).any(dim=1)
    left, sizes, right = thin(gradient[live], float(spread.square().sum().sqrt()))
    own = dict(observation.model.named_parameters())
    return ReluLayer(
        gradient=gradient,
        live=live,
        left=left,
        sizes=sizes,
        right=right,
        noise=spread[live].square().mean(dim=1).sqrt(),
        weight=own[f"{prefix}weight"].detach().double(),
        bias=own[f"{prefix}bias"].detach().double(),
        slope=slope,
        offset=offset,
    )


def thin(matrix: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return what singular values of a matrix [l, n] are above ``floor``.  # [l, r], [r], [r, n]

    By the eigenvectors of its smaller square, several times faster than by all singular vectors; what that
    loses of the digits, a step of subspace iteration and the singular values of a thin matrix give back.
    """
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    values, vectors = torch.linalg.eigh(wide @ wide.T)
    span = vectors[:, values > floor**2]  # [min(l, n), r]
    span = torch.linalg.qr(wide @ (wide.T @ span)).Q
    inner, sizes, right = torch.linalg.svd(span.T @ wide, full_matrices=False)
    outer, kept = span @ inner, sizes > floor
    outer, sizes, right = outer[:, kept], sizes[kept], right[kept]
    return (outer, sizes, right) if wide is matrix else (right.T, sizes, outer.T)


def _rows(observation: Observation, vector: Tensor, prefix: str) -> Tensor:
    """Return the part of a vector [P] that is the layer's, a unit a row.  # [m, D + 1]"""
    views = observation.layout.views(vector)
    return torch.cat([views[f"{prefix}weight"], views[f"{prefix}bias"][:, None]], dim=1)


def factors(layer: ReluLayer, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs of the layer that follow from columns L q of E, and their variance from rounding.

    Columns that are missing are replaced by what is orthogonal to the others: inputs are then near the truth
    at best.

    Args:
        layer: The layer.
        directions: The columns' directions q, linearly independent.  # [k, r]

    Returns:
        The inputs [k, D], and of each the variance of an entry, as a mean.  # [k]
    """
    count, rank = len(directions), layer.rank
    whole = torch.eye(rank, dtype=torch.float64)
    whole = torch.linalg.qr(directions.T, mode="complete").Q if count else whole
    mixing = torch.cat([directions, whole[:, count:].T]).T  # Q  # [r, r]
    inverse = torch.linalg.inv(mixing)[:count]  # [k, r]
    rows = inverse @ (layer.sizes[:, None] * layer.right)  # [k, D + 1], up to one factor each
    inputs = (rows[:, :-1] / rows[:, -1:]).nan_to_num(posinf=0.0, neginf=0.0)
    variance = layer.noise.square().mean() * inverse.square().sum(dim=1) / rows[:, -1].square()
    return inputs, variance * (1 + inputs.square().mean(dim=1))


def agreement(layer: ReluLayer, off: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return how well inputs [k, D] fit the zeros of E.

    Where two examples turn the same units on, sums of their columns have the same zeros, and one more that
    is as good as any: every unit but that one agrees with a mixture of both. A column is told from another
    where, on more than one unit, it is 0, the other is not, and both inputs say so.

    Args:
        layer: The layer.
        off: Where the columns of E are 0 on the live units, bool.  # [k, l]
        inputs: What follows from the columns.

    Returns:
        For each input, the share of all units that are off for it just where E is 0, and whether its column
        is told from every other.  # [k], [k] bool
    """
    silent = torch.ones(len(inputs), len(layer.weight), dtype=torch.bool)
    silent[:, layer.live] = off
    turned_off = inputs @ layer.weight.T + layer.bias <= 0
    agrees = silent == turned_off
    apart = (silent & agrees).double() @ (~silent & agrees).double().T  # [k, k]
    return agrees.double().mean(dim=1), (apart.fill_diagonal_(torch.inf) > 1).all(dim=1)


def balance(layer: ReluLayer) -> Tensor:
    """Return how far each live unit is from its threshold at a typical input, in its own units.  # [l]

    A unit that is on for all examples, or for none, says nothing about which is which. The typical input is
    the median over the units of dW / db, which are means of the inputs with other weights each.
    """
    gradient = layer.gradient[layer.live]
    if not len(gradient):
        return gradient.new_zeros(0)
    typical = (gradient[:, :-1] / gradient[:, -1:]).nan_to_num(posinf=0.0, neginf=0.0).median(dim=0).values
    return (layer.weight[layer.live] @ typical + layer.bias[layer.live]).abs()
