"""FreqFed: cluster the low frequencies of the updates, and average the largest cluster.

Source: Fereidooni, Pegoraro, Rieger, Dmitrienko, Sadeghi. FreqFed: A Frequency Analysis-Based Approach for
Mitigating Poisoning Attacks in Federated Learning. NDSS 2024, Algorithm 1. arXiv:2312.04432. Reconstruction:
that the transform is that of the whole vector, which half of it is low, and the options of HDBSCAN are
unverified; a public re-implementation takes the first half of the last layer's.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.clusters import dense_clusters, largest_cluster
from .parts.geometry import cosines
from .parts.memory import stored
from .parts.screening import needed, screened, uniform

_NUMBERS = 2**20  # of the rows that are transformed together: 8 MiB


@dataclass(frozen=True)
class FreqFed:
    """Average the largest cluster of clients by the cosines of their lowest frequencies.

    The discrete cosine transform (DCT-II, orthonormal) of a client's vector is cut to its lowest
    frequencies. Where no cluster is dense, everybody is accepted. Neighbouring coordinates share low
    frequencies: they are sums over stretches of the vector, in which a trigger's few weights weigh little.

    It keeps the larger of two groups, whoever is in it: as many attackers that are more alike than honest
    clients, whose data differ, are the densest part of the cohort.

    Attributes:
        low_share: Share of the frequencies, the lowest, that are compared, above 0 and at most 1.
        min_cluster_size: Least members of a cluster, at least 2; None takes K // 2 + 1.
        min_samples: Neighbours that make a client's neighbourhood dense, at least 1.
        input: What is transformed: ``"updates"``, or local ``"models"`` (global parameters plus update).
    """

    low_share: float = 0.5
    min_cluster_size: int | None = None
    min_samples: int = 1
    input: Literal["updates", "models"] = "updates"

    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.low_share <= 1:
            raise ValueError(f"low_share must be above 0 and at most 1, got {self.low_share}")
        if self.min_cluster_size is not None and self.min_cluster_size < 2:
            raise ValueError(f"min_cluster_size must be at least 2, got {self.min_cluster_size}")
        if self.min_samples < 1:
            raise ValueError(f"min_samples must be at least 1, got {self.min_samples}")
        if self.input not in ("updates", "models"):
            raise ValueError(f"input must be updates or models, got '{self.input}'")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        shift = None
        if self.input == "models":
            shift = needed(updates, "freqfed", "the global parameters").params
        count = max(1, int(self.low_share * updates.vectors.shape[1]))
        distance = (1 - cosines(low_frequencies(updates.vectors, count, shift))).clamp(min=0).numpy()
        least = self.min_cluster_size or len(updates) // 2 + 1
        labels = dense_clusters(distance, max(2, least), self.min_samples, precomputed=True, single=True)
        keep = torch.from_numpy(largest_cluster(labels) if labels.max() >= 0 else np.ones(len(labels), bool))
        return screened(updates, uniform(keep), ~keep), state


def low_frequencies(vectors: Tensor, count: int, shift: Tensor | None = None) -> Tensor:
    """Return the first ``count`` values of each row's DCT-II, orthonormal, in the rows' type.  # [K, count]

    By an FFT in float64 of the row with its odd entries reversed behind the even ones (Makhoul 1980), some
    rows at a time.

    Args:
        vectors: The rows.  # [K, P]
        count: Values to keep, at least 1 and at most P.
        shift: What each row is moved by first.  # [P]
    """
    size = vectors.shape[1]
    low, number = vectors.new_empty(len(vectors), count), torch.arange(count)
    twice = torch.where(number > size // 2, size - number, number)  # the upper half mirrors the lower one
    angle = -torch.pi * number.double() / (2 * size)
    turn = torch.polar(torch.full_like(angle, (2 / size) ** 0.5), angle)  # [count]
    turn[0] /= 2**0.5
    flip = torch.where(number > size // 2, -1.0, 1.0).double()
    height = max(1, _NUMBERS // size)
    for at in range(0, len(vectors), height):
        rows = vectors[at : at + height].double()
        rows = rows if shift is None else rows + shift
        found = torch.fft.rfft(torch.cat([rows[:, ::2], rows[:, 1::2].flip(1)], dim=1))[:, twice]
        low[at : at + height] = stored(found.real * turn.real - flip * found.imag * turn.imag, low.dtype)
    return low
