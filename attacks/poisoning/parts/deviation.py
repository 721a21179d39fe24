"""How far from the honest mean an update may go and still keep a bound on its distances.

Source: Shejwalkar, Houmansadr. Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses
for Federated Learning. NDSS 2021, Algorithm 1 (the search for gamma).
"""

from collections.abc import Callable
from math import isfinite
from typing import Literal, Protocol

import torch
from torch import Tensor

from .geometry import along, squared_distances
from .moments import mean_and_std

Direction = Literal["std", "sign", "unit"]
DIRECTIONS = ("std", "sign", "unit")


class Search(Protocol):
    """The options that the two attacks share, as their fields are."""

    @property
    def direction(self) -> Direction: ...

    @property
    def start_gamma(self) -> float: ...

    @property
    def tolerance(self) -> float: ...


def check_search(search: Search) -> None:
    """Raise ``ValueError`` unless the options that the two attacks share are in range."""
    start = search.start_gamma
    if search.direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got '{search.direction}'")
    if not (start > 0 and isfinite(start)):
        raise ValueError(f"start_gamma must be finite and above 0, got {start}")
    if not 0 < search.tolerance < start:
        raise ValueError(f"tolerance must be above 0 and below start_gamma = {start}, got {search.tolerance}")


def along_direction(mean: Tensor, std: Tensor, direction: Direction) -> Tensor:
    """Return the perturbation p that the mean is moved against, float64.  # [P]"""
    if direction == "std":
        return std
    if direction == "sign":
        return mean.sign()
    norm = torch.linalg.vector_norm(mean)
    return mean / norm if norm > 0 else mean


def farthest(
    search: Search,
    honest: Tensor,
    size: Callable[[Tensor], Tensor],
    limit: Callable[[Tensor], Tensor],
) -> tuple[Tensor, float]:
    """Return (mean - gamma p, the largest gamma found that keeps the bound).  # [P]

    Args:
        search: Which p, where the search starts (nothing above twice that is found), and where it stops.
        honest: The honest updates.  # [H, P]
        size: From the candidate's squared distances to the honest updates [H] to what is bounded.
        limit: From the honest updates' squared distances [H, H] to the bound.
    """
    mean, std = mean_and_std(honest)
    p = along_direction(mean, std, search.direction)
    from_mean, inner = along(honest, mean, p)  # [H], [H]
    length, bound = p @ p, limit(squared_distances(honest))

    def fits(gamma: float) -> bool:  # ||mean - gamma p - x_i||^2, multiplied out
        return bool(size(from_mean + 2 * gamma * inner + gamma**2 * length) <= bound)

    gamma = _largest(fits, search.start_gamma, search.tolerance)
    return mean - gamma * p, gamma


def _largest(fits: Callable[[float], bool], start: float, tolerance: float) -> float:
    """Search with halving steps, as the authors do: it stops slightly short of the boundary."""
    gamma, step, best = start, start, 0.0
    while abs(best - gamma) > tolerance:
        if fits(gamma):
            best = gamma
            gamma += step / 2
        else:
            gamma -= step / 2
        step /= 2
    return best
