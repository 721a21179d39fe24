"""Surrogates of a function from its values: a Gaussian process, and random features that can be sent.

Source: Shu, Fang, He, Low. Federated Zeroth-Order Optimization using Trajectory-Informed Surrogate
Gradients. arXiv:2308.04077 (the GP's mean as a gradient, its variance as what to ask next, random features
as a message); Rasmussen, Williams. Gaussian Processes for Machine Learning. 2006, 2.3, 4.2; Rahimi, Recht.
Random Features for Large-Scale Kernel Machines. NeurIPS 2007. The variance is our correction: that of the
whole gradient, with the kernel's first derivatives.
"""

from dataclasses import dataclass
from math import log, pi, sqrt

import torch
from torch import Tensor

from ....core.seeds import generator

JITTER = 1e-6
_LEAST_RANGE = 1e-20


def scaled(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values brought to [0, 1] [n], and how far apart the ends were []."""
    span = values.max() - values.min()
    return (values - values.min()) / (span + _LEAST_RANGE), span


def nearest(points: Tensor, x: Tensor, count: int) -> Tensor:
    """Return the rows of the ``count`` points nearest to x, or of all.  # [n]"""
    return (points - x).square().sum(dim=1).argsort(stable=True)[:count]


def _distances(points: Tensor) -> Tensor:
    """Return those between points, each from its difference: products of far points would lose near ones'."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process of unit variance and mean 0 with a Matern kernel (nu = 2.5), fitted to values.

    Attributes:
        points: Where the values were asked, float64.  # [n, P]
        length: The length scale, above 0.
        coefficients: K^-1 y, in units of the values.  # [n]
    """

    points: Tensor
    length: float
    coefficients: Tensor

    def mean(self, x: Tensor) -> Tensor:
        """Return the posterior mean at x, but for a constant.  # []"""
        r = sqrt(5) * (x - self.points).norm(dim=1) / self.length
        found: Tensor = ((1 + r + r**2 / 3) * torch.exp(-r)) @ self.coefficients
        return found

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradient of the posterior mean at x.  # [P]"""
        off = x - self.points  # [n, P]
        r = sqrt(5) * off.norm(dim=1) / self.length
        slope = -5 / (3 * self.length**2) * (1 + r) * torch.exp(-r)  # [n]
        found: Tensor = (slope * self.coefficients) @ off
        return found

    def variance(self, candidates: Tensor) -> Tensor:
        """Return the posterior variance of the whole gradient at some points [m, P], summed.  # [m]

        As with a squared exponential of the same length scale: d / l^2 - sum_j k_j' (K + jitter)^-1 k_j'.
        """
        squares = _distances(self.points).square()
        gram = torch.exp(-squares / (2 * self.length**2))
        factor = torch.linalg.cholesky(gram + JITTER * torch.eye(len(gram), dtype=gram.dtype))
        off = candidates[None] - self.points[:, None]  # [n, m, P]
        near = torch.exp(-off.square().sum(dim=2) / (2 * self.length**2))  # [n, m]
        slopes = (-off / self.length**2 * near[:, :, None]).flatten(1)  # [n, m P]
        whitened = torch.linalg.solve_triangular(factor, slopes, upper=False)
        explained = whitened.square().sum(dim=0).view(len(candidates), -1).sum(dim=1)
        found: Tensor = candidates.shape[1] / self.length**2 - explained
        return found


def fit(points: Tensor, values: Tensor, lengths: tuple[float, ...]) -> Process:
    """Return the process whose length scale makes the values most likely, brought to [0, 1].

    Args:
        points: Where they were asked, float64.  # [n, P]
        values: The values, float64.  # [n]
        lengths: The length scales to choose from.
    """
    y, span = scaled(values)
    distances = _distances(points)
    best: tuple[float, Process] | None = None
    for length in lengths:
        r = sqrt(5) * distances / length
        gram = (1 + r + r**2 / 3) * torch.exp(-r) + JITTER * torch.eye(len(points), dtype=points.dtype)
        factor = torch.linalg.cholesky(gram)
        solved = torch.cholesky_solve(y[:, None], factor)[:, 0]
        likely = float(-0.5 * (y @ solved) - factor.diagonal().log().sum()) - len(y) / 2 * log(2 * pi)
        if best is None or likely > best[0]:
            best = likely, Process(points, length, solved * span)
    assert best is not None
    return best[1]


@dataclass(frozen=True, eq=False)
class Features:
    """sqrt(2 / M) cos(Omega x + b), which everybody draws alike from a public seed.

    Attributes:
        frequencies: Omega, normal, float64.  # [M, P]
        phases: b, uniform from 0 to 2 pi.  # [M]
    """

    frequencies: Tensor
    phases: Tensor

    @classmethod
    def drawn(cls, count: int, size: int, seed: int) -> "Features":
        """Return M features of points of that size, for a squared exponential of length 1."""
        stream = generator(seed, "fzoos features")
        omega = torch.from_numpy(stream.standard_normal((count, size)))
        return cls(omega, torch.from_numpy(stream.uniform(0, 2 * pi, count)))

    def fitted(self, points: Tensor, values: Tensor) -> Tensor:
        """Return the shortest weights that give the values at the points, in their units.  # [M]"""
        y, span = scaled(values)
        phi = sqrt(2 / len(self.phases)) * torch.cos(points @ self.frequencies.T + self.phases)  # [n, M]
        gram = phi @ phi.T + JITTER * torch.eye(len(phi), dtype=phi.dtype)
        found: Tensor = torch.linalg.solve(gram, y) @ phi * span
        return found

    def gradient(self, weights: Tensor, x: Tensor) -> Tensor:
        """Return the gradient at x of the function with these weights [M].  # [P]"""
        waves = weights * torch.sin(self.frequencies @ x + self.phases)
        return -sqrt(2 / len(self.phases)) * (waves @ self.frequencies)
