"""Random gradient-free clients: local steps along finite differences in random directions.

Source: Nesterov, Spokoiny. Random Gradient-Free Minimization of Convex Functions. Foundations of
Computational Mathematics 17, 2017. As the baseline of Shu, Fang, He, Low, arXiv:2308.04077, with that paper's
corrections for clients that differ.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Facts, LocalTraining, Visit, Worked
from ...core.layout import Layout
from ...core.seeds import generator
from ...core.trees import State
from .parts import black_box
from .parts.black_box import Adam, Queries

_NAMES = ("none", "prox", "scaf", "diff", "true")


@dataclass(frozen=True)
class RGF:
    """Take T Adam steps along P / q sum_j (f_i(x + mu u_j) - f_i(x)) / mu u_j, plus a correction.

    The q directions u_j are orthonormal, drawn anew for each step. A round is two of a scenario, as in
    ``fzoos``: clients step, then look at the server's new point, which is taken back unless the mean loss
    fell. A client's queries are T (q + 1) and 1, and q more with ``diff``, stated as ``queries``. What is
    added to a step's direction:

    - ``none``: nothing. ``prox``: strength (x - what was received).
    - ``scaf``: c - c_i, the mean direction of all clients' last steps less that of the client's own.
    - ``diff``: the same of finite differences at the new point, in directions that all clients share.
    - ``true``: the same of the exact gradients there, which no such client knows: what ``diff`` could reach.

    A wrong value undoes or keeps one step: F is stated anew before the next one. Who states wrong ones in
    every round stops the run; defense ``median`` counts them as one client's of many.

    Attributes:
        correction: See above.
        local_steps: T, at least 1.
        lr: Adam's step size, above 0.
        server_lr: What the mean update is multiplied by, above 0.
        revert: Whether steps are taken back.
        directions: q, at least 1; no more than there are parameters are used.
        mu: How far along a direction the loss is asked, above 0.
        strength: Of ``prox``, at least 0.
        direction_seed: What the shared directions of ``diff`` are drawn from, public.
    """

    correction: Literal["none", "prox", "scaf", "diff", "true"] = "none"
    local_steps: int = 10
    lr: float = 0.01
    server_lr: float = 1.0
    revert: bool = True
    directions: int = 20
    mu: float = 0.01
    strength: float = 0.01
    direction_seed: int = 0

    facts: ClassVar[tuple[str, ...]] = ("queries",)
    full_participation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.correction not in _NAMES:
            raise ValueError(f"correction must be one of {', '.join(_NAMES)}, got {self.correction!r}")
        for name in ("lr", "server_lr", "mu"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        for name in ("local_steps", "directions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.strength < np.inf:
            raise ValueError(f"strength must be at least 0 and finite, got {self.strength}")

    def _slope(self, layout: Layout) -> int:
        return layout.num_parameters if self.correction in ("scaf", "diff", "true") else 1

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("update").followed_by(value=(1,), slope=(self._slope(layout),))

    def down(self, layout: Layout) -> Layout:
        return layout.repeated("params").followed_by(slope=(self._slope(layout),))

    def memory(self, layout: Layout) -> Layout:
        return Layout(()).followed_by(slope=(self._slope(layout),))

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return black_box.schedule(training, self.lr)

    def work(self, visit: Visit) -> Worked:
        """Return the update or the value at the new point, the client's own direction, and its queries."""
        ask, x = Queries(visit), visit.received.double()
        own = visit.own["slope"].double()
        if black_box.looks(visit.round):
            value = ask.at(x[None])[0]
            update, slope, loss = torch.zeros_like(x), self._at_new(visit, ask, value, own), value
        else:
            update, slope, value, loss = self._walk(visit, ask, own)
        message = torch.cat([update, value[None], slope]).float()
        return Worked(message, loss.float(), memory=slope.float(), facts={"queries": ask.count})

    def _walk(self, visit: Visit, ask: Queries, own: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return how far T steps lead [P], their mean direction, the first loss and the last."""
        start = visit.received.double()
        x, adam, stream = start, Adam(self.lr), visit.stream("rgf directions")
        total, first, loss = torch.zeros_like(x), None, torch.zeros(())
        for _ in range(self.local_steps):
            loss = ask.at(x[None])[0]
            first = loss if first is None else first
            slope = self._difference(x, loss, ask, stream)
            total += slope / self.local_steps
            x = adam.step(x, slope + self._correction(visit, x - start))
        assert first is not None
        return x - start, total if self.correction == "scaf" else own, first, loss

    def _correction(self, visit: Visit, off: Tensor) -> Tensor | float:
        if self.correction == "none":
            return 0.0
        if self.correction == "prox":
            return self.strength * off
        return visit.shared["slope"].double() - visit.own["slope"].double()

    def _at_new(self, visit: Visit, ask: Queries, value: Tensor, own: Tensor) -> Tensor:
        """Return the client's direction at the point that it looks at.  # [P]"""
        if self.correction == "diff":
            stream = generator(self.direction_seed, "rgf shared", visit.round)
            return self._difference(visit.received.double(), value, ask, stream)
        return visit.gradient(visit.received)[0].double() if self.correction == "true" else own

    def _difference(self, x: Tensor, base: Tensor, ask: Queries, stream: np.random.Generator) -> Tensor:
        """Return the finite differences' estimate of the gradient at x.  # [P]"""
        count = min(self.directions, len(x))
        u = torch.linalg.qr(torch.from_numpy(stream.standard_normal((len(x), count)))).Q.T  # [q, P]
        slopes = (ask.at(x + self.mu * u) - base) / self.mu  # [q]
        found: Tensor = len(x) / count * (slopes @ u)
        return found

    def init(self) -> State:
        return {**black_box.first_memory(), "slope": None}

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return the clients' mean direction; zeros at first, and where no correction needs it.  # [P]"""
        if self.correction not in ("scaf", "diff", "true"):
            return params.new_zeros(1)
        return torch.zeros_like(params) if state["slope"] is None else state["slope"]

    def step(
        self, params: Tensor, aggregate: Tensor, state: Any, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Step along the mean update; then take it back where F did not fall."""
        size = len(params)
        update, value, slope = aggregate[:size], float(aggregate[size]), aggregate[size + 1 :]
        counted = value if share > 0 else None
        moved, after = black_box.moved(params, update, counted, state, self.server_lr, self.revert)
        return moved, {**after, "slope": slope.clone() if share > 0 else state["slope"]}
