"""gm_split: clients whose updates point against each other part; each group gets a model of its own.

Source: the splitting of Sattler, Mueller, Samek. Clustered Federated Learning: Model-Agnostic Distributed
Multi-Task Optimization under Privacy Constraints. IEEE TNNLS 2021, arXiv:1910.01991; that gradients at shared
weights tell who should keep sharing: Hu, Wang, Hong, Li, Hsieh, Feng. Generalizing Few-Shot NAS with Gradient
Matching. ICLR 2022, arXiv:2203.15207 (abstract), whose child networks clients are here. RECONSTRUCTION: the
rounds, the relative bounds and how new clients join are this package's own.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...core.contracts import Facts, LocalTraining, Visit, Worked
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import row_norms, weighted_sum
from .parts.bipartition import apart, cosines_of, within
from .parts.local_sgd import Batch, descend
from .parts.window import with_round


@dataclass(frozen=True)
class GMSplit:
    """Run FedAvg in every cluster of clients; a cluster parts where its clients' updates conflict.

    All begin in cluster 0. After ``warmup`` rounds, and every ``window`` rounds from then on, the server
    takes each client's mean update u_i over the last ``window`` rounds. In each cluster it looks for the two
    groups with the smallest largest cosine across. They part where that cosine is below ``most_across``, the
    mean cosine of pairs within the groups is at least ``least_within``, the mean of the cluster's u_i is
    shorter than ``largest_mean`` times their median length, and the longest is at least ``least_norm`` times
    the median length of the first round: clients that still move, and not where noise leads each one. The
    larger group keeps the number, the other begins from the same model. A smaller one than ``min_size`` is
    suspicious: its clients get the model that they had, and count nowhere from then on.

    A client of the cluster that was not there in the window, or was never seen before, joins in its next
    round the cluster along whose mean direction, as it was when that one parted, its update points most; its
    update counts then only if it was made from that cluster's model. What a client states as ``cluster`` is
    the number of the model that it trained, or -1 if it is suspicious: a record, which decides nothing.

    Every client is sent all models and who belongs where, and counted so; it sends one update. The server
    remembers one vector for each client of the window. The defense is a mean that counts alike, since the
    clusters' means are taken of single messages: nothing here is robust. Who flips labels looks like a second
    opinion: enough such clients get a model of their own, which is a way to be rid of them only while they
    are fewer. Once ``max_clusters`` are there nothing parts. The scored model is that of the largest cluster;
    what clients hold out is asked of each one's own.

    Attributes:
        warmup: Rounds before the first look, at least 1.
        window: Rounds of a look, at least 1 and at most ``warmup``.
        max_clusters: At least 2.
        min_size: The smallest group that is served, in clients, at least 1.
        most_across: The largest cosine across at which groups part, from -1 to 1. With 0 or less all pairs
            across point against each other.
        least_within: The least mean cosine within groups that part, from -1 to 1. Two clients never part.
        largest_mean: See above, in units of the median length, above 0 and at most 1.
        least_norm: See above, at least 0.
        server_lr: What a cluster's mean update is multiplied by, above 0.
        room: Clients that the list of who belongs where has room for, at least as many as there are: 4 bytes
            each in what a client is sent.
    """

    warmup: int = 6
    window: int = 3
    max_clusters: int = 4
    min_size: int = 2
    most_across: float = 0.0
    least_within: float = 0.3
    largest_mean: float = 0.85
    least_norm: float = 1.0
    server_lr: float = 1.0
    room: int = 1000

    weighs_alike: ClassVar[bool] = True
    plain_mean: ClassVar[bool] = True
    sees_messages: ClassVar[bool] = True
    facts: ClassVar[tuple[str, ...]] = ("cluster",)

    def __post_init__(self) -> None:
        least = {"warmup": 1, "window": 1, "max_clusters": 2, "min_size": 1, "room": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}, got {getattr(self, name)}")
        if self.window > self.warmup:
            raise ValueError(f"window must be at most warmup, {self.warmup}, got {self.window}")
        for name in ("most_across", "least_within"):
            if not -1 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between -1 and 1, got {getattr(self, name)}")
        if not 0 < self.largest_mean <= 1:
            raise ValueError(f"largest_mean must be above 0 and at most 1, got {self.largest_mean}")
        if not 0 <= self.least_norm < float("inf"):
            raise ValueError(f"least_norm must be at least 0, got {self.least_norm}")
        if not 0 < self.server_lr < float("inf"):
            raise ValueError(f"server_lr must be above 0, got {self.server_lr}")

    def down(self, layout: Layout) -> Layout:
        others = self.max_clusters - 1, layout.num_parameters
        return layout.repeated("params").followed_by(others=others, membership=(self.room,))

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    # ---- the client -------------------------------------------------------------------------------------

    def work(self, visit: Visit) -> Worked:
        """Return the update of local SGD from the model of the client's cluster."""
        if visit.num_clients > self.room:  # whoever is drawn first says so, and no late round
            raise ValueError(
                f"room must be at least the number of clients, {visit.num_clients}, got {self.room}"
            )
        member = int(visit.shared["membership"][visit.client_id])
        number = max(member, -1 - member)
        start = visit.received if number == 0 else visit.shared["others"][number - 1]
        local, loss = descend(visit, lambda model, batch: _mean_loss(visit, model, batch), start)
        stated = float(number) if member >= 0 else -1.0
        return Worked(local - start, loss, facts={"cluster": stated})

    # ---- the server -------------------------------------------------------------------------------------

    def init(self) -> State:
        """Return what the server knows before round 0.

        ``membership`` holds a client's cluster c, or -1 - c of one that was in c and is suspicious.
        """
        return {
            "rounds": 0,
            "clusters": 1,
            "others": None,  # [max_clusters - 1, P]
            "directions": None,  # [max_clusters, P]
            "membership": torch.zeros(self.room, dtype=torch.int64),
            "placed": torch.zeros(self.room, dtype=torch.bool),
            "typical": None,
            "window": None,  # ids [R], how often [R], sums [R, P]
        }

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return the models of the other clusters, and who belongs where."""
        return torch.cat([self._others(params, state).flatten(), state["membership"].to(params.dtype)])

    def served(self, params: Tensor, state: Any, client_id: int) -> Tensor:
        """Return the model of the client's cluster.  # [P]"""
        member = int(state["membership"][client_id]) if client_id < self.room else 0
        found: Tensor = self._models(params, state)[max(member, -1 - member)]
        return found

    def model(self, params: Tensor, state: Any) -> Tensor:
        """Return the model of the cluster that most clients are in, of equals the first.  # [P]"""
        members = state["membership"][state["placed"]]
        counts = torch.bincount(members[members >= 0], minlength=self.max_clusters)
        return self._models(params, state)[int(counts.argmax())]

    def step(
        self, params: Tensor, aggregate: Tensor, state: Any, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Move each cluster by the mean of its clients, and let clusters part when it is time to look."""
        assert facts.messages is not None
        ids, rows = facts.client_ids, facts.messages
        state = {**state, "rounds": state["rounds"] + 1}
        if len(ids) == 0:
            return params.clone(), state
        state, counted = self._joined(state, ids, rows)
        models = self._models(params, state)
        if state["clusters"] == 1 and bool(counted.all()):
            models[0] += self.server_lr * aggregate
        else:
            models += self.server_lr * self._means(state, ids, rows, facts.weights * counted)
        if state["typical"] is None:
            state["typical"] = float(row_norms(rows).median())
        if state["rounds"] > self.warmup - self.window:
            state["window"] = with_round(state["window"], ids[counted], rows[counted])
        if state["rounds"] >= self.warmup and (state["rounds"] - self.warmup) % self.window == 0:
            models, state = self._parted(models, state)
        return models[0].clone(), {**state, "others": models[1:].clone()}

    def _others(self, params: Tensor, state: Any) -> Tensor:
        nothing = params.new_zeros(self.max_clusters - 1, len(params))
        found: Tensor = nothing if state["others"] is None else state["others"]
        return found

    def _models(self, params: Tensor, state: Any) -> Tensor:
        return torch.cat([params[None], self._others(params, state)])  # [C, P]

    def _joined(self, state: Any, ids: Tensor, rows: Tensor) -> tuple[dict[str, Any], Tensor]:
        """Place clients that have no place; return also whose update counts: made where it belongs.  # [K]"""
        before, placed = state["membership"][ids], state["placed"][ids]
        after = before
        if state["clusters"] > 1 and not bool(placed.all()):
            known = state["directions"][: state["clusters"]]
            cosines = cosines_of(torch.cat([rows, known]))[: len(ids), len(ids) :]  # [K, C]
            after = before.where(placed, cosines.argmax(dim=1))
        membership, seen = state["membership"].clone(), state["placed"].clone()
        membership[ids], seen[ids] = after, True
        return {**state, "membership": membership, "placed": seen}, (after == before) & (before >= 0)

    def _means(self, state: Any, ids: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the mean of each cluster's messages, 0 where it has none.  # [C, P]"""
        own = state["membership"][ids] == torch.arange(self.max_clusters)[:, None]  # [C, K]
        shares = own * weights
        totals = shares.sum(dim=1, keepdim=True)
        means = [weighted_sum(rows, share) for share in shares / totals.clamp(min=1e-300)]
        return torch.stack(means).to(rows.dtype)

    def _parted(self, models: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Return models and state after every cluster was looked at once; the window begins anew."""
        window, models = state["window"], models.clone()
        state = {**state, "window": None}
        if window is None:
            return models, state
        means = window["sums"] / window["times"][:, None]
        for number in range(state["clusters"]):
            if state["clusters"] == self.max_clusters:
                break
            there = state["membership"][window["ids"]] == number
            ids, rows = window["ids"][there], means[there]
            if (few := self._conflict(rows, state["typical"])) is not None:
                models, state = self._split(models, state, number, (ids, rows, few))
        return models, state

    def _conflict(self, rows: Tensor, typical: float) -> Tensor | None:
        """Return who is in the smaller of two groups that should part, bool [K]; None where none should."""
        if len(rows) < 3:
            return None
        lengths, cosines = row_norms(rows), cosines_of(rows)
        mean = weighted_sum(rows, torch.full([len(rows)], 1 / len(rows), dtype=torch.float64))
        short = float(mean.norm()) < self.largest_mean * float(lengths.median())
        moving = float(lengths.max()) >= self.least_norm * typical
        other, across = apart(cosines)
        agree = within(cosines, other) >= self.least_within
        if not (short and moving and agree and across < self.most_across):
            return None
        return other if 2 * int(other.sum()) <= len(other) else ~other

    def _split(
        self, models: Tensor, state: dict[str, Any], number: int, found: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Give the smaller group a model of its own, or none if it is too small to be served."""
        (ids, rows, few), state = found, {**state, "membership": state["membership"].clone()}
        if int(few.sum()) < self.min_size:
            state["membership"][ids[few]] = -1 - number
            return models, state
        new, missing = state["clusters"], state["membership"] == number
        missing[ids] = False
        state["membership"][ids[few]], state["placed"] = new, state["placed"] & ~missing
        directions = torch.zeros_like(models) if state["directions"] is None else state["directions"].clone()
        for place, group in ((number, ~few), (new, few)):
            directions[place] = torch.nn.functional.normalize(rows[group], dim=1).mean(dim=0)
        models[new] = models[number]
        return models, {**state, "clusters": new + 1, "directions": directions}


def _mean_loss(visit: Visit, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return a batch's mean loss, for its gradient and as a number."""
    loss = visit.loss(model(batch.x), batch.y)
    return loss, loss.detach()
