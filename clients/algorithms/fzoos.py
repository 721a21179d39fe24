"""FZooS: federated optimisation from values of the loss alone, with surrogates made of all past queries.

Source: Shu, Fang, He, Low. Federated Zeroth-Order Optimization using Trajectory-Informed Surrogate
Gradients. arXiv:2308.04077, and the authors' code. The variance by which queries are chosen is corrected
(``parts/surrogates.py``); the length scale is one of a few, where theirs is optimised.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Facts, LocalTraining, Visit, Worked
from ...core.layout import Layout
from ...core.trees import State
from .parts import black_box, surrogates
from .parts.black_box import Adam, Queries
from .parts.query_history import History

MOST_PARAMETERS = 1024  # a candidate's variance looks at all parameters of all past queries


@dataclass(frozen=True)
class FZooS:
    """Step along the gradient of a Gaussian process, corrected by random features of what others know.

    A round of the paper is two of a scenario. In even ones a client takes T Adam steps along
    g = grad mean(x) + 1 / (t + 1) (grad F(x) - grad f_i(x)), asks for its loss at each point, and, but for
    the last, at the ``active`` of ``candidates`` points around it at which the gradient is least known. In
    odd ones everybody looks at the server's new point: they ask for its loss, and at ``look_active`` of
    ``look_candidates`` points around it, and send the weights of random features fitted to their last
    queries. F and f_i above are made of the mean weights and of one's own. The server takes its step back
    unless the mean loss fell. Queries of a client: 1 + ``first_queries`` at first, and T + active (T - 1) +
    look_active + 1 in two rounds, stated as ``queries``; one more where the point that all return to is older
    than what a client remembers.

    A message holds an update, a value and M weights in every round, of which a half is 0. What is sent
    tells the others what a client's loss looks like; no privacy mechanism goes with it. A wrong value undoes
    or keeps one step: F is stated anew before the next one. Who states wrong ones in every round stops the
    run; defense ``median`` counts them as one client's of many.

    Attributes:
        correction: ``"features"``, or ``"none"``: the second term of g is left out, and nothing is fitted.
        local_steps: T, at least 1.
        lr: Adam's step size, above 0.
        server_lr: What the mean update is multiplied by, above 0.
        revert: Whether steps are taken back.
        num_features: M, at least 1.
        feature_seed: What the features are drawn from, public.
        lengths: The length scales that the process may have, each above 0.
        neighbours: Past queries that a process is fitted to, at least 1: those nearest to the point.
        feature_neighbours: Past queries that the features are fitted to, at least 1.
        radius: Half the side of the cube in which candidates and the first queries lie, above 0.
        first_queries: Queries around the first point besides the one there, at least 1.
        candidates, active: See above, at least 1 and 0.
        look_candidates, look_active: Likewise.
        history: Past queries that a client remembers, at least ``feature_neighbours``.
    """

    correction: Literal["features", "none"] = "features"
    local_steps: int = 10
    lr: float = 0.01
    server_lr: float = 1.0
    revert: bool = True
    num_features: int = 1000
    feature_seed: int = 0
    lengths: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    neighbours: int = 150
    feature_neighbours: int = 500
    radius: float = 0.01
    first_queries: int = 10
    candidates: int = 100
    active: int = 5
    look_candidates: int = 200
    look_active: int = 50
    history: int = 1000

    facts: ClassVar[tuple[str, ...]] = ("queries",)
    full_participation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.correction not in ("features", "none"):
            raise ValueError(f"correction must be features or none, got {self.correction!r}")
        for name in ("lr", "server_lr", "radius"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not self.lengths or not all(0 < length < np.inf for length in self.lengths):
            raise ValueError(f"lengths must be above 0 and finite, at least one, got {list(self.lengths)}")
        for name in (
            *(
                "local_steps",
                "num_features",
                "neighbours",
                "feature_neighbours",
                "first_queries",
                "candidates",
            ),
            "look_candidates",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for some, of in (("active", "candidates"), ("look_active", "look_candidates")):
            if not 0 <= getattr(self, some) <= getattr(self, of):
                raise ValueError(f"{some} must be from 0 to {of}, got {getattr(self, some)}")
        if self.history < max(self.neighbours, self.feature_neighbours, self.first_queries + 1):
            raise ValueError(f"history must hold all neighbours and the start, got {self.history}")

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("update").followed_by(value=(1,), features=(self._sent,))

    def down(self, layout: Layout) -> Layout:
        return layout.repeated("params").followed_by(features=(self._sent,))

    def memory(self, layout: Layout) -> Layout:
        size = layout.num_parameters
        return Layout(()).followed_by(
            last=(size,), points=(self.history, size), values=(self.history,), count=(1,), own=(self._sent,)
        )

    @property
    def _sent(self) -> int:
        return self.num_features if self.correction == "features" else 1

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return black_box.schedule(training, self.lr)

    def work(self, visit: Visit) -> Worked:
        """Return what the client sends, F's part at what it received, its history, and its queries."""
        size = len(visit.received)
        if size > MOST_PARAMETERS:
            raise ValueError(f"fzoos works on at most {MOST_PARAMETERS} parameters, the model has {size}")
        past, ask = History.of(visit), Queries(visit)
        x = visit.received.double()
        self._begin(visit, past, ask)
        if black_box.looks(visit.round):
            update, own = torch.zeros_like(x), self._look(visit, past, ask)
            value, last = past.last_asked, visit.own["last"].double()
        else:
            value = past.at(ask, x)
            last, own = self._walk(visit, past, ask), visit.own["own"].double()
            update = last - x
        sent = own if black_box.looks(visit.round) else torch.zeros_like(own)
        message = torch.cat([update, value[None], sent]).float()
        memory = torch.cat([last, *past.flat(), own]).float()
        loss = value if visit.round == 0 or black_box.looks(visit.round) else past.last_asked
        return Worked(message, loss.float(), memory=memory, facts={"queries": ask.count})

    def _begin(self, visit: Visit, past: History, ask: Queries) -> None:
        """Ask at and around the first point where nothing is remembered.

        That is so in round 0, and for a client no message of which was counted so far.
        """
        if len(past):
            return
        around = self._cube(visit, "fzoos start", self.first_queries, self.radius)
        past.ask(ask, torch.cat([visit.received.double()[None], visit.received.double() + around]))

    def _walk(self, visit: Visit, past: History, ask: Queries) -> Tensor:
        """Return where T steps lead.  # [P]"""
        x, adam = visit.received.double(), Adam(self.lr)
        draws = self._cube(visit, "fzoos candidates", self.local_steps * self.candidates, self.radius)
        features = self._features(len(x))
        for t in range(self.local_steps):
            process = surrogates.fit(*past.near(x, self.neighbours), self.lengths)
            gradient = process.gradient(x)
            if not bool(
                gradient.isfinite().all()
            ):  # a loss was no number: nor is what is sent, and it is refused
                return torch.full_like(x, torch.nan)
            if features is not None:
                gap = visit.shared["features"].double() - visit.own["own"].double()
                gradient = gradient + features.gradient(gap, x) / (t + 1)
            x = adam.step(x, gradient)
            past.ask(ask, x[None])
            if self.active and t < self.local_steps - 1:
                some = x + draws[t * self.candidates : (t + 1) * self.candidates]
                past.ask(ask, self._unknown(past, x, some, self.active))
        return x

    def _look(self, visit: Visit, past: History, ask: Queries) -> Tensor:
        """Ask around the new point, and at it last; return the weights of the features.  # [M]"""
        x = visit.received.double()
        width = float((x - visit.own["last"].double()).abs().mean()) / 2
        features = self._features(len(x))
        if features is not None and self.look_active and width > 0:
            some = x + self._cube(visit, "fzoos look", self.look_candidates, width)
            past.ask(ask, self._unknown(past, x, some, self.look_active))
        past.ask(ask, x[None])
        if features is None:
            return visit.own["own"].double()
        return features.fitted(*past.near(x, self.feature_neighbours))

    def _unknown(self, past: History, x: Tensor, some: Tensor, count: int) -> Tensor:
        """Return the candidates [m, P] at which the gradient is known least.  # [count, P]"""
        process = surrogates.fit(*past.near(x, self.neighbours), self.lengths)
        return some[process.variance(some).argsort(descending=True, stable=True)[:count]]

    def _cube(self, visit: Visit, purpose: str, count: int, radius: float) -> Tensor:
        drawn = visit.stream(purpose).uniform(-radius, radius, (count, len(visit.received)))
        return torch.from_numpy(drawn)

    def _features(self, size: int) -> surrogates.Features | None:
        if self.correction == "none":
            return None
        return _drawn(self.num_features, size, self.feature_seed)

    def init(self) -> State:
        return {**black_box.first_memory(), "features": None}

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return the mean weights of the clients' features; zeros until they looked.  # [M]"""
        known: Tensor | None = state["features"]
        return params.new_zeros(self._sent) if known is None else known

    def step(
        self, params: Tensor, aggregate: Tensor, state: Any, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Step along the mean update; then take it back where F did not fall, and keep the mean weights."""
        size = len(params)
        update, value, weights = aggregate[:size], float(aggregate[size]), aggregate[size + 1 :]
        counted, looked = (value if share > 0 else None), share > 0 and black_box.looks(state["round"])
        known = weights.clone() if looked else state["features"]
        moved, after = black_box.moved(params, update, counted, state, self.server_lr, self.revert)
        return moved, {**after, "features": known}


@lru_cache(maxsize=4)
def _drawn(count: int, size: int, seed: int) -> surrogates.Features:
    return surrogates.Features.drawn(count, size, seed)
