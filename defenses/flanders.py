"""FLANDERS: keep the clients that do what a matrix autoregressive model of the last rounds forecasts.

Source: Gabrielli, Belli, Matrullo, Miori, Tolomei. Protecting Federated Learning from Extreme Model
Poisoning Attacks via Multidimensional Time Series Anomaly Detection. 2023, Section 5. arXiv:2303.16668.
The paper forecasts local models; here, as everywhere, updates. The public baseline fits on scaled data but
forecasts from unscaled ones and takes the first step for the successor of the last; here neither.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.seeds import generator
from ..core.updates import Updates
from .parts.autoregression import Fit, forecast
from .parts.fallback import OnInfeasible, check_robustness, fall_back
from .parts.memory import check_max_clients, remember
from .parts.screening import screened, uniform

Samples = dict[int, Tensor]
"""From client id to its last updates at the sampled coordinates, oldest first.  # [at most window, d]"""


@dataclass(frozen=True)
class FLANDERS:
    """Average all but the ``num_byzantine`` clients that are farthest from their forecast.

    A client's history is its own last updates, whenever they were; in that of a client that is left out,
    the aggregate stands in for its update (the paper's repair). Clients seen less than twice before have no
    forecast and stay. Where m of K clients have one, b m / K of them are left out, to the nearest whole
    number: as many as are malicious if those with and without a past are so equally often (this package's
    choice; the paper has everybody in every round, where that is b). Scores are squared distances to the
    forecast, after scaling to the history's range: high is suspected.

    Attributes:
        num_byzantine: Clients to leave out of a cohort (b), at least 0 and below its size.
        num_coordinates: Coordinates that are forecast, drawn once a run, at least 1; all where there are
            fewer.
        window: Updates remembered of a client, at least 2.
        max_iterations: Rounds of alternating least squares, at least 1.
        tolerance: They end where the fitted history changes by no more than this, relative to its norm, at
            least 0. The paper's code always runs them all.
        alpha: Ridge penalty on the matrix between clients, above 0.
        beta: Ridge penalty on the matrix between coordinates, above 0.
        max_clients: Clients remembered, at least 1. The one seen longest ago goes first.
        on_infeasible: What to do with a cohort that is too small: ``"raise"``, or take the ``"mean"`` or
            ``"median"``.
    """

    num_byzantine: int
    num_coordinates: int = 500
    window: int = 10
    max_iterations: int = 100
    tolerance: float = 1e-3
    alpha: float = 1.0
    beta: float = 1.0
    max_clients: int = 1000
    on_infeasible: OnInfeasible = "raise"

    remembers_clients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        for name, least in (("num_coordinates", 1), ("window", 2), ("max_iterations", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("alpha", "beta"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.tolerance < inf:
            raise ValueError(f"tolerance must be at least 0 and finite, got {self.tolerance}")
        check_max_clients(self.max_clients)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return self.num_byzantine + 1 if self.on_infeasible == "raise" else 1

    def init(self) -> Samples:
        return {}

    def aggregate(self, updates: Updates, state: Samples) -> tuple[Verdict, Samples]:
        cohort_size = len(updates)
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if cohort_size <= self.num_byzantine:
            reason = f"leaving {self.num_byzantine} out needs a cohort above that, got {cohort_size}"
            return fall_back(self.on_infeasible, updates, reason), state
        coordinates = self._coordinates(updates)
        samples = updates.vectors[:, coordinates]  # [K, d]
        scores = self._scores(updates.client_ids, samples, state)
        malicious = self._farthest(scores)
        verdict = screened(updates, uniform(~malicious), malicious, scores)
        believed = torch.where(malicious[:, None], verdict.aggregate[coordinates], samples)
        return verdict, self._remembered(updates.client_ids, believed, state)

    def _coordinates(self, updates: Updates) -> Tensor:
        """Return which coordinates are forecast, the same all run.  # [d]"""
        size = updates.vectors.shape[1]
        if size <= self.num_coordinates:
            return torch.arange(size)
        rng = generator(updates.context.seed if updates.context else 0, "flanders")
        return torch.from_numpy(np.sort(rng.choice(size, self.num_coordinates, replace=False)))

    def _scores(self, client_ids: Tensor, samples: Tensor, state: Samples) -> Tensor:
        """Return each client's squared distance to its forecast, NaN where there is none.  # [K]"""
        scores = torch.full((len(samples),), float("nan"), dtype=torch.float64)
        known = torch.tensor([len(state.get(i, ())) >= 2 for i in client_ids.tolist()])
        if not bool(known.any()):
            return scores
        histories = [state[i] for i in client_ids[known].tolist()]
        shared = min(map(len, histories))
        past = torch.stack([h[-shared:] for h in histories], dim=1).to(torch.float64).numpy()  # [T, k, d]
        low, spread = past.min(), float(np.ptp(past)) or 1.0  # an unchanging past has no range to scale by
        how = Fit(self.alpha, self.beta, self.max_iterations, self.tolerance)
        expected = forecast((past - low) / spread, how)
        came = (samples[known].to(torch.float64).numpy() - low) / spread
        scores[known] = torch.from_numpy(np.square(came - expected).sum(axis=1))
        return scores

    def _farthest(self, scores: Tensor) -> Tensor:
        """Return the clients that are left out, bool; of equals the one with the highest id.  # [K]"""
        known = (~scores.isnan()).nonzero().flatten()
        order = known[scores[known].argsort(stable=True)]
        farthest = torch.zeros(len(scores), dtype=torch.bool)
        farthest[order[len(order) - self._quota(len(order), len(scores)) :]] = True
        return farthest

    def _quota(self, known: int, cohort_size: int) -> int:
        """Return how many of those that have a forecast are left out: a half counts as a whole."""
        return (2 * self.num_byzantine * known + cohort_size) // (2 * cohort_size)

    def _remembered(self, client_ids: Tensor, rows: Tensor, state: Samples) -> Samples:
        news = {}
        for client_id, row in zip(client_ids.tolist(), rows, strict=True):
            past = [state[client_id]] if client_id in state else []
            news[client_id] = torch.cat([*past, row[None]])[-self.window :]
        return remember(state, news, self.max_clients)
