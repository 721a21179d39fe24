"""What an attacker makes of mixtures of a client's examples that it rebuilt over some rounds.

Source: mixtures lie in the convex hull of what is mixed, so that a decomposition finds its corners: Cutler,
Breiman. Archetypal Analysis. Technometrics 1994; started as Gillis, Vavasis. Fast and Robust Recursive
Algorithms for Separable Nonnegative Matrix Factorization. IEEE TPAMI 2014, arXiv:1208.1237. That it is used
on rebuilt mixtures is ours; compare Carlini et al., arXiv:2011.05315, who are given the mixtures.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_ALTERNATIONS, _STEPS, _STARTS = 60, 30, 3
_ROUNDING = 1e-6  # how far off a decomposition may be and still be exact, root mean square


def unmixed(
    seen: Sequence[Tensor], k: int, value_range: tuple[float, float], stream: np.random.Generator
) -> tuple[Tensor, float]:
    """Return the examples of which mixtures were made, in any order, and how far theirs are from those seen.

    A client of B examples lets B mixtures of k of them be seen in every round. Of one round nothing can be
    told apart: its mixtures are returned.

    Args:
        seen: The mixtures of each round.  # [T][B, ...]
        k: How many examples are mixed.
        value_range: Of inputs.
        stream: Where starts after the first are drawn from.

    Returns:
        Examples [B, ...], and the root mean square of what is left.
    """
    size, shape = len(seen[-1]), seen[-1].shape
    if len(seen) == 1 or size == 1:
        return torch.stack(list(seen)).mean(dim=0), 0.0
    mixtures = torch.cat(list(seen)).flatten(1).double()  # [T B, N]
    best, least = mixtures[-size:], float("inf")
    for number in range(_STARTS):
        drawn = torch.from_numpy(stream.choice(len(mixtures), size, replace=False))
        start = _corners(mixtures, size) if number == 0 else mixtures[drawn]
        found, left = _decomposed(mixtures, start, min(k, size), value_range)
        if left < least:
            best, least = found, left
        if least < _ROUNDING:
            break
    return best.float().reshape(shape), least


def _corners(rows: Tensor, size: int) -> Tensor:
    """Return rows that lie farthest out, each beyond the span of those before it.  # [size, N]"""
    left, chosen = rows - rows.mean(dim=0), list[int]()
    for number in range(size):
        chosen.append(int(left.square().sum(dim=1).argmax()))
        if number == 0:
            left = rows - rows[chosen[0]]
            continue
        axis = left[chosen[-1]] / left[chosen[-1]].norm().clamp(min=1e-12)
        left = left - (left @ axis)[:, None] * axis
    return rows[chosen]


def _decomposed(
    mixtures: Tensor, x: Tensor, k: int, value_range: tuple[float, float]
) -> tuple[Tensor, float]:
    """Return examples [B, N] and what is left, from a start: weights and examples in turn.

    In the second half of the run each mixture is of those k examples alone that weigh most in it.
    """
    size = len(x)
    weights, among = mixtures.new_full((len(mixtures), size), 1 / size), None
    for step in range(_ALTERNATIONS):
        if step >= _ALTERNATIONS // 2 and step % 5 == 0:
            most = _weights(mixtures, x, weights, None).topk(k, dim=1).indices
            among = torch.zeros_like(weights, dtype=torch.bool).scatter(1, most, True)
        weights = _weights(mixtures, x, weights, among)
        gram = weights.T @ weights + 1e-6 * torch.eye(size, dtype=x.dtype)
        x = torch.linalg.solve(gram, weights.T @ mixtures + 1e-6 * x).clamp(*value_range)
    return x, float((weights @ x - mixtures).square().mean().sqrt())


def _weights(mixtures: Tensor, x: Tensor, weights: Tensor, among: Tensor | None) -> Tensor:
    """Return each mixture's weights [T B, B], at least 0 and of sum 1, by accelerated projected descent.

    Source: Beck, Teboulle. A Fast Iterative Shrinkage-Thresholding Algorithm. SIAM J. Imaging Sciences 2009.
    """
    gram, slope = x @ x.T, mixtures @ x.T
    length = torch.linalg.matrix_norm(gram, 2).clamp(min=1e-12)
    ahead, pace = weights, 1.0
    for _ in range(_STEPS):
        moved = ahead - (ahead @ gram - slope) / length
        new = _on_simplex(moved if among is None else moved.masked_fill(~among, -1e9))
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead, weights, pace = new + (pace - 1) / faster * (new - weights), new, faster
    return weights


def _on_simplex(rows: Tensor) -> Tensor:
    """Return the nearest rows of numbers of at least 0 that sum to 1.

    Source: Duchi, Shalev-Shwartz, Singer, Chandra. Efficient Projections onto the l1-Ball. ICML 2008.
    """
    ordered = rows.sort(dim=1, descending=True).values
    over = ordered.cumsum(dim=1) - 1
    counts = torch.arange(1, rows.shape[1] + 1, dtype=rows.dtype)
    last = (ordered > over / counts).sum(dim=1, keepdim=True)
    return (rows - over.gather(1, last - 1) / last).clamp(min=0)
