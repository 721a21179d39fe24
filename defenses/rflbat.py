"""RFLBAT: look at the updates in two dimensions, and average the cluster that is least of one mind.

Source: Wang, Zhai, Zhan, Xia, Lv. RFLBAT: A Robust Federated Learning Algorithm against Backdoor Attack.
2022. arXiv:2201.03772. The thresholds are those of public re-implementations; unverified: that k-means works
on the two dimensions (one of them clusters whole updates), and the number of reference sets.
"""

import warnings
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.columns import Array
from .parts.distances import central_gram
from .parts.geometry import NO_LENGTH, cosines
from .parts.screening import screened, stream, uniform

NO_SPREAD = 1e-12
STARTS = 3  # of k-means


@dataclass(frozen=True)
class RFLBAT:
    """Average one cluster of clients, and of it those near the others, on the two principal components.

    Who is farther from the others than ``first_tolerance`` times the median sum of distances goes. The rest
    is split by k-means, into as many clusters as the gap statistic says. In each the median over its members
    of their mean cosine to the other members is taken, and the cluster with the least stays: attackers want
    the same and are more alike than honest clients. Of that cluster go those beyond ``second_tolerance``.

    Two dimensions show what makes the cohort differ most. Where that is honest clients' data, the cluster
    that stays may be honest and small, or attackers who are less alike than honest clients.

    Attributes:
        first_tolerance: The paper's epsilon_1, in medians, above 1.
        second_tolerance: The paper's epsilon_2, likewise.
        max_clusters: Clusters that are considered, at least 1.
        references: Uniform sets of the gap statistic, at least 2.
    """

    first_tolerance: float = 10.0
    second_tolerance: float = 4.0
    max_clusters: int = 9
    references: int = 5

    def __post_init__(self) -> None:
        for name in ("first_tolerance", "second_tolerance"):
            if not 1 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 1 and finite, got {getattr(self, name)}")
        for name, least in (("max_clusters", 1), ("references", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        points = principal_points(updates.vectors)
        rows = np.arange(len(points))
        rows = rows[near_others(points, self.first_tolerance)]
        labels = self._split(points[rows], stream(updates, "rflbat"))
        rows = rows[labels == least_alike(cosines(updates.vectors).numpy()[np.ix_(rows, rows)], labels)]
        rows = rows[near_others(points[rows], self.second_tolerance)]
        keep = torch.zeros(len(points), dtype=torch.bool)
        keep[torch.from_numpy(rows)] = True
        return screened(updates, uniform(keep), ~keep), state

    def _split(self, points: Array, rng: np.random.Generator) -> Array:
        """Return the clusters of so many as the gap statistic says.  # [n]"""
        most = min(self.max_clusters, len(points) - 1, len(np.unique(points, axis=0)))
        if most < 2 or np.ptp(points, axis=0).max() < NO_LENGTH:
            return np.zeros(len(points), dtype=np.int64)
        low, high = points.min(axis=0), points.max(axis=0)
        random = low + (high - low) * rng.random((self.references, *points.shape))
        seed = int(rng.integers(2**31))
        own, labels = _partitions(points, most, seed)
        reference = np.log(np.stack([_partitions(one, most, seed)[0] for one in random]) + NO_SPREAD)
        return labels[number_of_clusters(np.log(own + NO_SPREAD), reference) - 1]


def principal_points(vectors: Tensor) -> Array:
    """Return each row on the two principal components of all, in float64.  # [K, 2]"""
    gram = central_gram(vectors).numpy()
    middle = gram.mean(axis=0)
    values, directions = np.linalg.eigh(gram - middle - middle[:, None] + middle.mean())
    points: Array = np.zeros((len(gram), 2))
    found = directions[:, ::-1][:, :2] * np.sqrt(values[::-1][:2].clip(min=0.0))
    points[:, : found.shape[1]] = found
    return points


def near_others(points: Array, tolerance: float) -> Array:
    """Return whose summed distance to the others is below ``tolerance`` medians, bool.  # [n]"""
    far = np.linalg.norm(points[:, None] - points, axis=2).sum(axis=1)
    bound = tolerance * np.median(far)
    near: Array = (far < bound) | (far <= 0)
    return near


def number_of_clusters(own: Array, reference: Array) -> int:
    """Return the least number whose gap is no more than an error below that of one more (Tibshirani, 2001).

    Args:
        own: Logarithm of the dispersion of 1, 2, ... clusters.  # [most]
        reference: The same of each set of the reference.  # [B, most]
    """
    gaps = reference.mean(axis=0) - own
    errors = np.sqrt(1 + 1 / len(reference)) * reference.std(axis=0)
    enough = gaps[:-1] >= gaps[1:] - errors[1:]
    return int(enough.argmax()) + 1 if enough.any() else len(own)


def least_alike(cosine: Array, labels: Array) -> int:
    """Return the cluster whose members' mean cosine to the others in it has the least median.

    A cluster of one is never chosen where there are others.

    Args:
        cosine: Of every two clients.  # [n, n]
        labels: Their clusters, from 0.  # [n]
    """
    members = np.eye(int(labels.max()) + 1)[labels]  # [n, clusters]
    sizes = members.sum(axis=0)[labels]
    inside = (cosine @ members)[np.arange(len(labels)), labels] - 1  # without itself
    mean = np.where(sizes > 1, inside / np.maximum(sizes - 1, 1), np.inf)
    medians = [float(np.median(mean[labels == label])) for label in range(members.shape[1])]
    return int(np.argmin(medians))


def _partitions(points: Array, most: int, seed: int) -> tuple[Array, list[Array]]:
    """Return the dispersion of 1 ... ``most`` clusters by k-means, and the clusters.  # [most], [most, n]"""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    scaled = points / max(float(np.abs(points).max()), 1e-300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer places than clusters, but for rounding
        fits = [KMeans(k, n_init=STARTS, random_state=seed).fit(scaled) for k in range(1, most + 1)]
    labels = [np.unique(fit.labels_, return_inverse=True)[1] for fit in fits]  # no number without a member
    return np.array([fit.inertia_ for fit in fits]), labels
