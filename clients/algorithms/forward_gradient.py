"""Forward gradients: steps along public random directions, from forward passes alone.

Source: ``classic``: Baydin, Pearlmutter, Syme, Wood, Torr. Gradients without Backpropagation. 2022.
arXiv:2202.08587. ``spsa``: Spall. Multivariate Stochastic Approximation Using a Simultaneous Perturbation
Gradient Approximation. IEEE Transactions on Automatic Control 37(3), 1992. ``fixed_point``: Stepping Forward
on the Last Mile. arXiv:2411.04036, of which the abstract alone was read: a reconstruction. That all clients
of a round share their directions, so that scalars alone travel, is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Visit
from ...core.layout import Layout, Slot
from ...core.seeds import generator
from ...core.trees import State

ESTIMATORS = ("spsa", "classic", "fixed_point")
MOST = 2**16  # scalars of a message


@dataclass(frozen=True)
class ForwardGradient:
    """Take local steps theta -= lr / m sum_j d_j z_j, and send the slopes d_j alone.

    The m directions of a step follow from a public seed, the round and the step, and are all clients' own: a
    walk is linear in its slopes, so that the walk along the mean of the cohort's slopes is the mean of their
    walks, and a defense judges slopes. The server takes it; of one client it is that client's own to the last
    bit. Batches are those of local SGD.

    - ``spsa``: z has entries +-1, d = (l(theta + eps z) - l(theta - eps z)) / (2 eps), or its sign.
    - ``classic``: z is normal, d the derivative along z, by one forward pass in forward mode.
    - ``fixed_point``: the parameters are whole numbers q of ``weight_bits`` times the step s =
      ``largest`` / (2^(weight_bits - 1) - 1); losses are taken at q +- round(eps / s) z, and q moves by
      lr / s times the mean of d_j z_j, rounded up or down at random by a public draw and held to the range.

    A slope tells how the loss of a client's examples changes along a known direction: it is not private. Of m
    scalars for P parameters the gradient's estimate is off by about P / m times the gradient's own square.

    Attributes:
        estimator: See above.
        num_draws: m, directions a step, at least 1.
        local_steps: Steps a round, at least 1; with ``num_draws`` at most 65,536 scalars.
        lr: Step size, above 0.
        eps: How far along a direction the loss is asked, in the parameters' units, at least 1e-6.
        sign: Whether ``spsa`` and ``fixed_point`` send -1, 0 (a tie) or 1; codec ``sign`` makes a bit of it.
        weight_bits: Of ``fixed_point``, from 4 to 16.
        largest: Of ``fixed_point``, the largest size of a parameter, above 0; beyond it is cut off.
        direction_seed: A public number from which all sides draw directions.
    """

    estimator: Literal["spsa", "classic", "fixed_point"] = "spsa"
    num_draws: int = 8
    local_steps: int = 1
    lr: float = 0.1
    eps: float = 1e-3
    sign: bool = False
    weight_bits: int = 16
    largest: float = 4.0
    direction_seed: int = 0

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}; got {self.estimator!r}")
        for name, least in (("num_draws", 1), ("local_steps", 1), ("direction_seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.num_draws * self.local_steps > MOST:
            raise ValueError(
                f"num_draws * local_steps must be at most {MOST}, got {self.num_draws * self.local_steps}"
            )
        for name in ("lr", "largest"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not (isfinite(self.eps) and self.eps >= 1e-6):
            raise ValueError(f"eps must be at least 1e-6 and finite, got {self.eps}")
        if not 4 <= self.weight_bits <= 16:
            raise ValueError(f"weight_bits must be from 4 to 16, got {self.weight_bits}")
        if self.sign and self.estimator == "classic":
            raise ValueError("sign must be false with estimator = 'classic', got true")
        if self.estimator == "fixed_point" and self._reach == 0:
            raise ValueError(
                f"eps must be at least half of the step {self.unit:g} of the parameters, got {self.eps}"
            )

    @property
    def unit(self) -> float:
        """s, the step of ``fixed_point``."""
        return self.largest / self._top

    @property
    def _top(self) -> int:
        return int(2 ** (self.weight_bits - 1) - 1)

    @property
    def _reach(self) -> int:
        return round(self.eps / self.unit)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, local_steps=self.local_steps, lr=self.lr)

    def up(self, layout: Layout) -> Layout:
        return Layout((Slot("slopes", (self.local_steps, self.num_draws), 0),))

    def directions(self, round_: int, step: int, size: int) -> Iterator[Tensor]:
        """Yield the directions of a step.  # [P] each, float32"""
        for draw in range(self.num_draws):
            stream = generator(self.direction_seed, "forward directions", round_, step, draw)
            if self.estimator == "classic":
                yield torch.from_numpy(stream.standard_normal(size, dtype=np.float32))
            else:
                yield torch.from_numpy(2 * stream.integers(0, 2, size, dtype=np.int8) - 1).float()

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the slopes along the client's walk, and the mean loss around it."""
        theta, slopes, losses = self.on_grid(visit.received), [], []
        for step, rows in enumerate(visit.batches()):
            drawn = list(self.directions(visit.round, step, len(theta)))
            found = [self._slope(visit, theta, z, rows) for z in drawn]
            slopes.append(torch.stack([slope for slope, _ in found]))
            losses += [loss for _, loss in found]
            theta = self.moved(theta, slopes[-1], drawn, visit.round, step)
        return torch.cat(slopes), torch.stack(losses).mean()

    def _slope(
        self, visit: Visit, theta: Tensor, z: Tensor, rows: np.ndarray[Any, Any]
    ) -> tuple[Tensor, Tensor]:
        """Return one slope, and the loss around theta; [] both."""
        if self.estimator == "classic":
            return visit.slope(theta, z, rows)
        fixed = self.estimator == "fixed_point"
        eps = self._reach * self.unit if fixed else self.eps
        ahead = self._reach * z if fixed else self.eps * z
        there = torch.stack([theta + ahead, theta - ahead])
        more, less = visit.losses(there * self.unit if fixed else there, rows)
        difference = more - less
        return difference.sign() if self.sign else difference / (2 * eps), (more + less) / 2

    def on_grid(self, params: Tensor) -> Tensor:
        """Return the parameters as a walk goes on from them: of ``fixed_point`` whole numbers.  # [P]"""
        if self.estimator != "fixed_point":
            return params
        return (params.double() / self.unit).round().clamp(-self._top, self._top).float()

    def moved(self, theta: Tensor, slopes: Tensor, drawn: list[Tensor], round_: int, step: int) -> Tensor:
        """Return where one step leads: the same floats, whoever takes it.  # [P]"""
        total = torch.zeros_like(theta)
        for slope, z in zip(slopes, drawn, strict=True):
            total.add_(slope * z)
        if self.estimator != "fixed_point":
            return theta - self.lr / self.num_draws * total
        stream = generator(self.direction_seed, "forward rounding", round_, step)
        wanted = self.lr / self.unit / self.num_draws * total.double()
        up = torch.from_numpy(stream.random(len(theta)))
        return (theta - (wanted + up).floor()).clamp(-self._top, self._top).float()

    def init(self) -> State:
        return {"round": 0}

    def step(self, params: Tensor, aggregate: Tensor, state: State, share: float) -> tuple[Tensor, State]:
        """Walk along the cohort's slopes."""
        theta, round_ = self.on_grid(params), state["round"]
        for number, slopes in enumerate(aggregate.view(self.local_steps, self.num_draws)):
            drawn = list(self.directions(round_, number, len(params)))
            theta = self.moved(theta, slopes, drawn, round_, number)
        fixed = self.estimator == "fixed_point"
        return (theta.double() * self.unit).float() if fixed else theta, {"round": round_ + 1}
