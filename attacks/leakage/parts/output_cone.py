"""What a ReLU put out, as the next linear layer's gradients show it: sparse columns, nowhere negative.

Behind the ReLU a linear layer reads A [m, B], what m units put out for B examples, and its gradients are
E' A^T. So they give a basis P of the columns of A, A = P T. A is 0 just where a unit is off, as the gradients
of the layer in front are, and nowhere negative: of the cone of all p with P p >= 0 the columns of A are edges
on which many entries are 0 at once. A linear program ends on an edge, and on such a one often.

Source: ours; that a nonnegative product with many zeros has few factors, and that its factors are edges of a
cone: Donoho, Stodden. When Does Non-Negative Matrix Factorization Give a Correct Decomposition into Parts?
NeurIPS 2003.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu

from ....core.observation import rounding
from ....core.seeds import generator
from .first_layer import first_layer
from .relu_layer import ReluLayer, thin

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ....core.observation import Observation
    from .sparse_columns import Basis

BOX = 100.0  # of the coordinates of p where entries of P p are 1 in the mean: never reached by a column
WRONG = 1e-6  # of an entry, by which it may be below 0
CUTS = 12  # times that rows are added to a program
SPARSER = 0.1  # what an entry is compared with where a second program weighs small entries more
LEAST = 1e-3  # seconds that a program is given where none are left
ZERO = 1e-4, 1e-3, 1e-2  # below which an entry is taken for 0, in units of the mean


def output_basis(observation: Observation, layer: ReluLayer) -> Tensor | None:
    """Return P for the live units, its columns orthonormal, or None where no linear layer shows it.  # [l, r]

    None too where that layer's gradients have not the rank of the first one's: a layer of few units.
    """
    weight = _reader(observation, first_layer(observation, "Spear")[0].removesuffix("."))
    if weight is None:
        return None
    gradient = observation.layout.views(observation.update.double())[weight]
    spread = observation.layout.views(rounding(observation))[weight]
    basis = thin(gradient, float(spread.square().sum().sqrt()))[2].T  # [m, r]
    return basis[layer.live] if basis.shape[1] == layer.rank else None


def _reader(observation: Observation, first: str) -> str | None:
    """Return the name of the weight that reads the first layer's outputs behind a ReLU and nothing else."""
    model = copy.deepcopy(observation.model).eval()
    linear = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    put_out: list[Tensor] = []
    read: list[tuple[str, Tensor]] = []
    linear[first].register_forward_hook(lambda _, __, output: put_out.append(output.clone()))
    for name, part in linear.items():
        part.register_forward_pre_hook(lambda _, inputs, name=name: read.append((name, inputs[0])))
    x = generator(0, "output_cone").normal(0.5, 2.0, (8, *observation.input_shape))
    with torch.no_grad():
        model(torch.from_numpy(x).to(observation.update.dtype))
    outputs = relu(put_out[0])
    readers = [name for name, inputs in read if name != first and torch.equal(inputs, outputs)]
    known = {slot.name for slot in observation.layout.parameters}
    alone = len(readers) == 1 and sum(name == readers[0] for name, _ in read) == 1
    return f"{readers[0]}.weight" if alone and f"{readers[0]}.weight" in known else None


def edges(
    outputs: Tensor, basis: Basis, known: Tensor, stream: np.random.Generator, left: Callable[[], float]
) -> Tensor:
    """Return directions q of which L q is 0 where edges of the cone are.  # [n, r]

    Args:
        outputs: P.  # [l, r]
        basis: L.
        known: Directions of L whose edges are not wanted: for them the programs' costs are 0.  # [k, r]
        stream: Where the costs come from.
        left: How many seconds there are, at most 0 where time is over. It ends a program, too.
    """
    rows, rank = outputs.shape
    scaled = outputs.numpy() * np.sqrt(rows)
    apart = np.eye(rank)
    if len(known):
        span = torch.linalg.qr(_null(outputs, basis.zeros(known)).T).Q.numpy()  # [r, k]
        apart -= span @ span.T
    found = []
    for _ in range(2 * (rank - len(known)) + 4):
        if left() <= 0:
            break
        edge = _sparse_edge(scaled, apart @ stream.standard_normal(rank), stream, left)
        if edge is not None:
            found.append(edge)
    if not found:
        return basis.left.new_zeros(0, rank)
    size = (torch.from_numpy(np.stack(found)) @ outputs.T).abs()  # [n, l]
    mean = size.mean(dim=1, keepdim=True)
    tried = torch.stack([_null(basis.left, size < zero * mean) for zero in ZERO])  # [3, n, r]
    zeros = torch.stack([basis.zeros(directions).sum(dim=1) for directions in tried])  # [3, n]
    return tried[zeros.argmax(dim=0), torch.arange(len(found))]


def _sparse_edge(
    scaled: np.ndarray, cost: np.ndarray, stream: np.random.Generator, left: Callable[[], float]
) -> np.ndarray | None:
    """Return the edge that a cost [r] leads to, or one near it with more zeros.  # [r]"""
    rows, rank = scaled.shape
    used = np.zeros(rows, dtype=bool)
    used[stream.permutation(rows)[: 4 * rank]] = True
    edge = _edge(scaled, cost, used, left)
    if edge is None:
        return None
    weights = 1 / (np.maximum(scaled @ edge, 0) + SPARSER)
    sparser = _edge(scaled, weights @ scaled / rows, used, left)
    return edge if sparser is None else sparser


def _edge(
    scaled: np.ndarray, cost: np.ndarray, used: np.ndarray, left: Callable[[], float]
) -> np.ndarray | None:
    """Return the p [r] of least cost with entries not below 0 and 1 in the mean.

    None where there is none, or where time ends the program. Few entries decide: the program begins with
    those in ``used``, and takes in what it finds to be negative.
    """
    from scipy.optimize import linprog  # takes more than half a second to load

    rows, rank = scaled.shape
    total = scaled.sum(axis=0)[None]
    for _ in range(CUTS):
        bound = np.zeros(int(used.sum()))
        limit = {"time_limit": max(left(), LEAST)}
        done = linprog(
            cost, -scaled[used], bound, total, [rows], (-BOX, BOX), method="highs-ds", options=limit
        )
        if done.x is None or done.status == 1:  # 1: time was over
            return None
        values = scaled @ done.x
        negative = np.flatnonzero((values < -WRONG) & ~used)
        if not len(negative):
            break
        used[negative[values[negative].argsort()[: 2 * rank]]] = True
    return np.asarray(done.x)


def _null(basis: Tensor, off: Tensor) -> Tensor:
    """Return the directions of a basis [l, r] that are nearest 0 on rows ``off``, bool [n, l].  # [n, r]"""
    squares = (off.double()[:, None, :] * basis.T) @ basis
    found: Tensor = torch.linalg.eigh(squares).eigenvectors[..., 0]
    return found
