"""MeZO clients: steps along random directions, from values of the loss alone.

Source: Malladi, Gao, Nichani, Damian, Lee, Chen, Arora. Fine-Tuning Language Models with Just Forward
Passes. NeurIPS 2023, Algorithm 1. arXiv:2305.17333. Directions that all sides draw: Zelikman, Huang, Liang,
Haber, Goodman. Just One Byte (per gradient). 2023. arXiv:2306.10015. The finite pool: Qin, Chen, Qian, Ding,
Li, Deng. Federated Full-Parameter Tuning of Billion-Sized Language Models with Communication Cost under 18
Kilobytes. ICML 2024. arXiv:2312.06353
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Visit
from ...core.directions import check


@dataclass(frozen=True)
class MeZO:
    """Send -(lr / S) sum_j p_j z_j, with p_j = (l(theta + eps z_j) - l(theta - eps z_j)) / (2 eps).

    The S directions z_j are normals that follow from the round, the client and a public seed, so that codec
    ``one_byte`` with the same ``scalars_per_round`` and ``seed_pool``, and ``unit = lr / S``, sends one byte
    for each p_j. In expectation, as eps goes to 0, one p z is the gradient g, with an error of (d + 1) |g|^2
    for d parameters: for few parameters, or many directions. One round is one step, of 2 S passes over the
    examples forward and none backward; the loss that is reported is the mean of these. The server adds the
    aggregate to its parameters.

    A client may send any p: it moves the mean of K messages by lr p |z| / (S K) a scalar; ``clip`` bounds p,
    also as a client's own share. No privacy mechanism goes with it.

    Attributes:
        scalars_per_round: S, from 1 to 4096.
        eps: How far along a direction the loss is asked, in units of the parameters, at least 1e-6: below,
            float32 parameters hardly move.
        lr: Step size, above 0.
        weight_decay: By lr times which the server shrinks the parameters before each step, at least 0.
        clip: C, p is cut off at +-C; above 0. None: it is not.
        batch_size: Examples that all losses of a round are taken of, drawn without replacement, at least 0;
            0 takes all.
        seed_pool: From how many directions, the same in all rounds, a client draws its S; from S to 65,536.
            None: every round and client has its own.
    """

    scalars_per_round: int = 10
    eps: float = 1e-3
    lr: float = 0.1
    weight_decay: float = 0.0
    clip: float | None = None
    batch_size: int = 0
    seed_pool: int | None = None

    stale: ClassVar[bool] = True
    memoryless: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self.scalars_per_round, self.seed_pool)
        if not 1e-6 <= self.eps < np.inf:
            raise ValueError(f"eps must be at least 1e-6 and finite, got {self.eps}")
        if not 0 < self.lr < np.inf:
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
        for name in ("weight_decay", "batch_size"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.clip is not None and not 0 < self.clip < inf:
            raise ValueError(f"clip must be above 0 and finite, or left out; got {self.clip}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=self.batch_size, local_steps=1, lr=self.lr)

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the step along the client's directions, and the mean loss around the parameters."""
        directions = visit.directions(self.scalars_per_round, self.seed_pool)
        rows = self._rows(visit)
        losses = np.empty((self.scalars_per_round, 2))
        for number, direction in enumerate(directions.each()):
            step = self.eps * torch.from_numpy(direction)
            losses[number] = visit.losses(torch.stack([visit.received + step, visit.received - step]), rows)
        slopes = (losses[:, 0] - losses[:, 1]) / (2 * self.eps)
        if self.clip is not None:
            slopes = slopes.clip(-self.clip, self.clip)
        message = directions.combined(-self.lr / self.scalars_per_round * slopes)
        return torch.from_numpy(message), torch.tensor(losses.mean(), dtype=torch.float32)

    def _rows(self, visit: Visit) -> np.ndarray[Any, Any] | None:
        """Return the examples of the round; None for all."""
        if not 0 < self.batch_size < visit.num_examples:
            return None
        return np.sort(visit.stream("mezo batch").permutation(visit.num_examples)[: self.batch_size])

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None) -> tuple[Tensor, None]:
        """Return the next parameters.  # [P]"""
        if self.weight_decay:
            params = params * (1 - self.lr * self.weight_decay)
        return params + aggregate, state
