"""Multi-metrics: score clients by three distances at once, weighed by how they vary, and average the lowest.

Source: Huang, Li, Chen, Shi, Gao. Multi-metrics adaptively identifies backdoors in Federated learning. ICCV
2023. arXiv:2303.06601, and the authors' code, which compares models in pairs (``metrics = "pairs"``) and
weighs clients by their examples; here they are alike.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, exact_blocks, row_norms
from .parts.columns import Array
from .parts.geometry import NO_LENGTH, cosines, products
from .parts.screening import needed, screened, uniform


@dataclass(frozen=True)
class MultiMetrics:
    """Average the ``kept_share`` of clients that have the lowest scores.

    Three metrics of a local model: the L1 norm and the L2 norm of its update, and its cosine to the global
    model. A client's feature is the sum of its distances to the others in a metric (x'), its score
    sqrt(x'^T S^-1 x') with S the covariance of the features: metrics that say the same count once. Ties go
    to the lowest id.

    It never asks whether anybody lies: 1 - ``kept_share`` of honest clients are left out in every round, and
    attackers near the middle of all three metrics are kept first. One far away stretches the covariance, by
    which it is measured: of twelve clients it scores no more than 11 / sqrt(100 / 12) in that direction.

    Attributes:
        kept_share: The paper's p, above 0 and at most 1; at least one client.
        metrics: ``"paper"``: as above. ``"pairs"``: as the authors' code has it: the features are sums over
            the others of squared cosine distances, of L1 distances and of differences of L2 norms, all of
            local models. That takes a time that grows with the square of the cohort.
    """

    kept_share: float = 0.3
    metrics: Literal["paper", "pairs"] = "paper"

    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.kept_share <= 1:
            raise ValueError(f"kept_share must be above 0 and at most 1, got {self.kept_share}")
        if self.metrics not in ("paper", "pairs"):
            raise ValueError(f"metrics must be paper or pairs, got '{self.metrics}'")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        params = needed(updates, "multi_metrics", "the global parameters").params
        features = _paired if self.metrics == "pairs" else _to_global
        scores = torch.from_numpy(whitened_lengths(features(updates.vectors, params)))
        count = max(1, int(self.kept_share * len(updates) + 1e-9))
        keep = torch.zeros(len(updates), dtype=torch.bool)
        keep[scores.argsort(stable=True)[:count]] = True
        return screened(updates, uniform(keep), ~keep, scores), state


def _to_global(vectors: Tensor, params: Tensor) -> Array:
    """Return each client's summed distances to the others in the three metrics.  # [K, 3]"""
    metrics = torch.stack([_absolute(vectors), row_norms(vectors), _model_cosines(vectors, params)], dim=1)
    found: Array = (metrics[:, None] - metrics).abs().sum(dim=1).numpy()
    return found


def _absolute(vectors: Tensor) -> Tensor:
    """Return each row's L1 norm, in float64.  # [K]"""
    total = torch.zeros(len(vectors), dtype=torch.float64)
    for _, block in exact_blocks(vectors):
        total += block.abs_().sum(dim=1)
    return total


def _model_cosines(vectors: Tensor, params: Tensor) -> Tensor:
    """Return the cosine of each model, parameters plus update, to the parameters; 0 of none.  # [K]"""
    own = float(params.double().square().sum())
    inner = products(vectors, params[None])[:, 0] + own
    lengths = row_norms(vectors, -params) * own**0.5
    return torch.where(lengths > NO_LENGTH, inner / lengths.clamp(min=1e-300), 0.0)


def _paired(vectors: Tensor, params: Tensor) -> Array:
    """Return what the authors' code sums over the others of every client.  # [K, 3]"""
    apart = torch.zeros(len(vectors), dtype=torch.float64)
    for _, block in exact_blocks(vectors):
        apart += torch.cdist(block, block, p=1.0).sum(dim=1)
    lengths = row_norms(vectors, -params)
    angles = (1 - cosines(vectors, shift=params)).square().sum(dim=1)
    found: Array = torch.stack([angles, apart, (lengths[:, None] - lengths).abs().sum(dim=1)], dim=1).numpy()
    return found


def whitened_lengths(features: Array) -> Array:
    """Return sqrt(x^T S^-1 x) of each row x, S the rows' covariance.  # [K]

    A feature that does not vary counts nothing, nor does a direction in which features are redundant.
    """
    spread = features.std(axis=0, ddof=1) if len(features) > 1 else np.zeros(features.shape[1])
    varies = spread > NO_LENGTH * np.abs(features).max(axis=0, initial=0.0)
    scaled = features / np.where(varies, spread, np.inf)  # no unit decides what is redundant
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(scaled.T)), hermitian=True) if varies.any() else 0.0
    square = np.einsum("ki,ij,kj->k", scaled, np.broadcast_to(inverse, (features.shape[1],) * 2), scaled)
    lengths: Array = np.sqrt(square.clip(min=0.0))
    return lengths
