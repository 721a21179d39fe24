"""q-FedAvg: clients that the model serves worse count more (q-FFL).

Source: Li, Sanjabi, Beirami, Smith. Fair Resource Allocation in Federated Learning. ICLR 2020, Algorithm 2.
arXiv:1905.10497. The weights p_k of the defense, where the paper draws clients by them, and the bounds of the
losses are this package's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import Facts, LocalTraining, LocalWork
from ...core.trees import State

LEAST_LOSS = 1e-10  # as in the authors' code: a loss of 0 has no power below 0


@dataclass(frozen=True)
class QFFL:
    """Step by sum p_k F_k^q u_k / sum p_k (F_k^q + q L F_k^(q-1) ||u_k||^2).

    A client states F_k, its mean loss over all its examples at the model that it received, and the length of
    its update u_k. The server multiplies u_k by (F_k / F_max)^q before the defense, F_max the largest of the
    cohort, and divides the aggregate after it. p_k are the weights of the defense: equal ones, as of ``mean``
    with ``weighting = "uniform"``, are the paper's. With q = 0 it is FedAvg but for the last bits.

    A client that lies about its loss counts as much as it likes, and makes the others count little, up to
    ``max_loss``; one that lies about the length of its update makes the step short. Each client takes
    one more pass over its examples in a round.

    Attributes:
        q: How much more a larger loss counts, at least 0.
        lipschitz: L, in units of the loss over squared parameters, above 0: how fast the loss's gradient may
            change. None: 1 / lr, as the paper has it. Larger is slower and steadier; where updates are
            long, since clients take many local steps, 1 / lr makes steps short.
        max_loss: The largest loss that counts, above 1e-10; None: as large as it is stated.
    """

    q: float = 1.0
    lipschitz: float | None = None
    max_loss: float | None = None

    facts: ClassVar[tuple[str, ...]] = ("loss", "norm")
    plain: ClassVar[bool] = True
    full_gradient: ClassVar[bool] = True  # for the loss beside it

    def __post_init__(self) -> None:
        if not 0 <= self.q < float("inf"):
            raise ValueError(f"q must be at least 0, got {self.q}")
        if self.lipschitz is not None and not 0 < self.lipschitz < float("inf"):
            raise ValueError(f"lipschitz must be above 0, got {self.lipschitz}")
        if self.max_loss is not None and not LEAST_LOSS < self.max_loss < inf:
            raise ValueError(f"max_loss must be above {LEAST_LOSS} and finite, got {self.max_loss}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def facts_of(self, update: Tensor, work: LocalWork) -> Mapping[str, Tensor]:
        assert work.loss is not None
        return {"loss": work.loss, "norm": torch.linalg.vector_norm(update.double(), dim=1)}

    def factors(self, facts: Facts) -> Tensor:
        """Return (F_k / F_max)^q.  # [K]"""
        losses = self._losses(facts)
        return (self.q * (losses / self._most(losses)).log()).clamp(min=-200.0).exp()

    def init(self) -> State:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: State, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Divide the aggregate by sum p_k h_k / (L F_max^q), h_k as in the paper, and step along it."""
        losses, lengths = self._losses(facts), facts.values["norm"].clamp(0.0, 1e100)
        lipschitz = self.lipschitz or 1 / facts.training.lr
        curve = 1 + self.q * lipschitz * lengths.square() / losses  # h_k / (L F_k^q)
        total = float((facts.weights * self.factors(facts) * curve).sum())
        return params + aggregate / (total if total > 0 else 1.0), state

    def _losses(self, facts: Facts) -> Tensor:
        return facts.values["loss"].clamp(LEAST_LOSS, self.max_loss)

    def _most(self, losses: Tensor) -> float:
        return float(losses.max()) if len(losses) else 1.0
