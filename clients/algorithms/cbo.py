"""Consensus-based optimisation: particles drawn towards the best of them, which clients rate.

Source: Riedl, Klock, Geldhauser, Fornasier. Gradient is All You Need? 2023. arXiv:2306.09778 (abstract; its
authors unverified); the recursion as the README of CBXpy states it. That clients rate the particles of a
server is this package's transfer.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Facts, LocalTraining, Visit, Worked
from ...core.layout import Layout
from ...core.seeds import generator
from ...core.trees import State
from .parts import black_box
from .parts.black_box import Queries


@dataclass(frozen=True)
class CBO:
    """Ask clients for the losses of N particles, and move these towards the consensus, with noise.

    c = sum_n x_n exp(-alpha (F_n - min F)) / sum_n exp(...), F being the aggregate of the clients' losses:
    their mean, or whatever the defense makes of N numbers a client. Then
    x_n <- x_n - pull dt (x_n - c) + sigma sqrt(dt) D_n xi, where D_n is each coordinate's distance to c
    (``anisotropic``) or the whole (``isotropic``). The consensus is the model. A client sends N numbers and
    receives N models; the values that it is asked for are stated as ``queries``.

    Attributes:
        num_particles: N, at least 2.
        alpha: How much better particles count for more, above 0.
        pull: The paper's lambda, above 0; at most 1 / dt.
        sigma: How strong the noise is, at least 0.
        dt: Length of a step, above 0.
        noise: See above.
        spread: Half the side of the cube around the first parameters in which particles begin, above 0.
        seed: What particles and noise are drawn from, besides the parameters they begin around.
    """

    num_particles: int = 50
    alpha: float = 1e5
    pull: float = 1.0
    sigma: float = 0.7
    dt: float = 0.01
    noise: Literal["anisotropic", "isotropic"] = "anisotropic"
    spread: float = 1.0
    seed: int = 0

    facts: ClassVar[tuple[str, ...]] = ("queries",)

    def __post_init__(self) -> None:
        if self.num_particles < 2:
            raise ValueError(f"num_particles must be at least 2, got {self.num_particles}")
        for name in ("alpha", "pull", "dt", "spread"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if self.pull * self.dt > 1:
            raise ValueError(f"pull times dt must be at most 1, got {self.pull * self.dt:g}")
        if not 0 <= self.sigma < np.inf:
            raise ValueError(f"sigma must be at least 0 and finite, got {self.sigma}")
        if self.noise not in ("anisotropic", "isotropic"):
            raise ValueError(f"noise must be anisotropic or isotropic, got {self.noise!r}")

    def up(self, layout: Layout) -> Layout:
        return Layout(()).followed_by(losses=(self.num_particles,))

    def down(self, layout: Layout) -> Layout:
        return layout.repeated("params").followed_by(particles=(self.num_particles, layout.num_parameters))

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return black_box.schedule(training, training.lr)

    def work(self, visit: Visit) -> Worked:
        """Return the client's loss of each particle.  # [N]"""
        ask = Queries(visit)
        losses = ask.at(visit.shared["particles"]).float()
        return Worked(losses, losses.mean(), facts={"queries": ask.count})

    def init(self) -> State:
        return {"round": 0, "particles": None}

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return the particles in one vector.  # [N P]"""
        return self._particles(params, state).flatten()

    def step(
        self, params: Tensor, aggregate: Tensor, state: Any, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Return the consensus [P], and the particles after a step."""
        x = self._particles(params, state)
        after = {"round": state["round"] + 1, "particles": x}
        if share == 0:  # nobody rated them
            return params.clone(), after
        centre = consensus(x, aggregate, self.alpha)
        stream = generator(self.seed, "cbo noise", state["round"])
        xi = torch.from_numpy(stream.standard_normal(tuple(x.shape))).to(x.dtype)
        return centre, {**after, "particles": self.moved(x, centre, xi)}

    def moved(self, x: Tensor, centre: Tensor, xi: Tensor) -> Tensor:
        """Return the particles after a step towards the consensus [P] with normal noise.  # [N, P]"""
        off = x - centre
        width = off.abs() if self.noise == "anisotropic" else off.norm(dim=1, keepdim=True)
        return x - self.pull * self.dt * off + self.sigma * sqrt(self.dt) * width * xi

    def _particles(self, params: Tensor, state: Any) -> Tensor:
        """Return the particles; at first around the parameters, one of them there.  # [N, P]"""
        known: Tensor | None = state["particles"]
        if known is not None:
            return known
        drawn = generator(self.seed, "cbo particles").uniform(-1, 1, (self.num_particles, len(params)))
        drawn[0] = 0
        return params + self.spread * torch.from_numpy(drawn).to(params.dtype)


def consensus(x: Tensor, losses: Tensor, alpha: float) -> Tensor:
    """Return the mean of particles [N, P], weighed by exp(-alpha (F_n - min F)).  # [P]"""
    weights = torch.softmax(-alpha * (losses - losses.min()).double(), dim=0)
    return (weights @ x.double()).to(x.dtype)
