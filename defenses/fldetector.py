"""FLDetector: leave out the clients whose updates are not what their last ones foretold.

Source: Zhang, Cao, Jia, Gong. FLDetector: Defending Federated Learning Against Model Poisoning Attacks via
Detecting Malicious Clients. KDD 2022, Algorithms 1 and 2. arXiv:2207.09209. The paper has gradients and all
clients in every round, and stops the training when it finds an attack. Here: updates; a client is foretold
from its own last update, whenever that was; and who is found is left out of that round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms
from .parts.curvature import hessian_product
from .parts.gap_statistic import num_clusters, upper_half
from .parts.geometry import NO_LENGTH
from .parts.memory import check_max_clients, remember, stored
from .parts.screening import needed, screened, stream, uniform

Memory = Mapping[str, Any]
"""``last``: from client id to [the round it was last seen, its update then, its last distances]; ``params``:
from each such round (and the last one) to the global parameters; ``aggregate``: the last one; ``steps`` and
``turns``: the newest differences of parameters and of aggregates."""

FEWEST = 5  # scores in which clusters are looked for


@dataclass(frozen=True)
class FLDetector:
    """Average the clients that the test of scores does not find malicious.

    A client's update is foretold as its last one plus the curvature (L-BFGS) times the move of the global
    parameters since. Its score is the mean of its last distances to what was foretold, in units of the
    cohort's mean distance: above 1 is suspected. Where the gap statistic sees more than one cluster of
    scores, the upper of two is flagged and left out.

    Attributes:
        window: Distances in a score, and differences behind the curvature, at least 1.
        references: Uniform sets of the gap statistic, at least 2.
        max_clusters: Clusters that it considers, at least 2.
        start_round: The first round with scores and a test, at least 0 (the authors: 20 or 50). Before it
            everybody is averaged.
        max_clients: Clients remembered, at least 1: P numbers each, and the global parameters of the
            rounds in which they were last seen. The one seen longest ago goes first.
    """

    window: int = 10
    references: int = 10
    max_clusters: int = 7
    start_round: int = 20
    max_clients: int = 1000

    remembers_clients: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("references", 2), ("max_clusters", 2), ("start_round", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        check_max_clients(self.max_clients)

    def init(self) -> Memory:
        return {"last": {}, "params": {}, "aggregate": None, "steps": [], "turns": []}

    def aggregate(self, updates: Updates, state: Memory) -> tuple[Verdict, Memory]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        context = needed(updates, "fldetector", "the round and the global parameters")
        distances = self._distances(updates, state)
        pasts = self._pasts(updates, state, distances)
        scores = torch.tensor([float(np.mean(past)) if past else float("nan") for past in pasts])
        malicious = self._malicious(updates, scores)
        verdict = screened(updates, uniform(~malicious), malicious, scores)
        news = {
            client_id: [context.round, row.clone(), past]
            for client_id, row, past in zip(updates.client_ids.tolist(), updates.vectors, pasts, strict=True)
        }
        last = remember(state["last"], news, self.max_clients)
        rounds = {round_ for round_, _, _ in last.values()} | {context.round}
        params = {t: w for t, w in state["params"].items() if t in rounds} | {context.round: context.params}
        return verdict, {
            "last": last,
            "params": params,
            **self._differences(state, context.params, verdict.aggregate),
        }

    def _distances(self, updates: Updates, state: Memory) -> Tensor:
        """Return each client's distance to what was foretold over their mean, NaN if nothing was.  # [K]"""
        context = needed(updates, "fldetector", "the round")
        distances = torch.full((len(updates),), float("nan"), dtype=torch.float64)
        if context.round < self.start_round or not state["steps"]:
            return distances
        steps, turns = torch.stack(state["steps"]), torch.stack(state["turns"])
        seen = [state["last"].get(i, [-1])[0] for i in updates.client_ids.tolist()]
        for before in sorted(set(seen) - {-1}):
            move = context.params.double() - state["params"][before]
            change = hessian_product(steps, turns, move)
            for row in [row for row, t in enumerate(seen) if t == before]:
                last = state["last"][int(updates.client_ids[row])][1]
                surprise = change + last - updates.vectors[row]  # [P], float64: huge lies do not overflow
                distances[row] = row_norms(surprise[None])[0]
        return distances / distances.nanmean().clamp(min=1e-300)

    def _pasts(self, updates: Updates, state: Memory, distances: Tensor) -> list[list[float]]:
        """Return each client's last distances, this round's included."""
        pasts = []
        for client_id, distance in zip(updates.client_ids.tolist(), distances.tolist(), strict=True):
            past = state["last"][client_id][2] if client_id in state["last"] else []
            pasts.append([*past, *([] if np.isnan(distance) else [distance])][-self.window :])
        return pasts

    def _malicious(self, updates: Updates, scores: Tensor) -> Tensor:
        """Return who is found by the test, bool.  # [K]"""
        found = torch.zeros(len(updates), dtype=torch.bool)
        judged = ~scores.isnan()
        values = scores[judged].to(torch.float64).numpy()
        if len(values) < FEWEST or float(np.ptp(values)) < NO_LENGTH:
            return found
        rng, most = stream(updates, "fldetector"), min(self.max_clusters, len(values) - 1)
        if num_clusters(values, most, self.references, rng) > 1:
            found[judged] = torch.from_numpy(upper_half(values))
        return found

    def _differences(self, state: Memory, params: Tensor, aggregate: Tensor) -> dict[str, Any]:
        """Return the newest differences, those of this round included if the parameters moved."""
        steps, turns = state["steps"], state["turns"]
        if state["aggregate"] is not None:
            step = params.double() - state["params"][max(state["params"])]
            if float(step.norm()) >= NO_LENGTH:
                turn = aggregate.double() - state["aggregate"]
                steps = [*steps, stored(step, params.dtype)][-self.window :]
                turns = [*turns, stored(turn, params.dtype)][-self.window :]
        return {"aggregate": aggregate, "steps": steps, "turns": turns}
