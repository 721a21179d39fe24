"""Uncertainty-based merging: updates count, by coordinate, by how sharply their client's loss bends.

Source: Daheim, Moellenhoff, Ponti, Gurevych, Khan. Model Merging by Uncertainty-Based Gradient Matching.
ICLR 2024. arXiv:2310.12808. As rounds of a federation, and with what the server knew last as the prior: this
package's transfer.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Visit
from ...core.layout import Layout
from ...core.trees import State

_EXAMPLES = 256  # whose gradients stand in memory together


@dataclass(frozen=True)
class UncertaintyMerge:
    """Step by alpha sum_t (delta + H_0 + s_t H_t) / (delta + H_0 + sum_t alpha s_t H_t) u_t.

    H_t is the diagonal of client t's Fisher information where its local SGD ends: squared gradients of its
    examples at labels drawn from its model, which is not the same as at their own; s_t is the number of its
    examples, H_0 what the server knew before (0 in the first round). With H_0 = 0 it is Fisher-weighted
    averaging, with equal s_t H_t besides the plain mean. A coordinate of which nobody has a curvature stays
    with ``delta`` = 0, and takes all updates with ``delta`` above it.

    A client sends N times (delta + H_0 + s_t H_t) u_t and s_t H_t, N being the population, so that sums
    are enough; no privacy mechanism goes with it. The diagonal tells of a client's data beside its update,
    and a client that claims large ones counts for more: nothing bounds either. ``fedavg`` is the case
    without.

    Attributes:
        local_epochs: Passes of local SGD, at least 1.
        batch_size: Examples a step, at least 0; 0 takes all.
        lr: Step size, above 0.
        alpha: How far the server goes, above 0.
        delta: The paper's delta_0, at least 0.
        prior: ``"none"``: H_0 is 0 in all rounds. ``"last"``: the last round's sum of s_t H_t.
        prior_scale: The paper's s_0, what H_0 is multiplied by, at least 0.
        fisher_examples: Examples that H_t is taken of, drawn anew, at least 0; 0 takes all.
    """

    local_epochs: int = 1
    batch_size: int = 32
    lr: float = 0.1
    alpha: float = 1.0
    delta: float = 1e-12
    prior: Literal["none", "last"] = "none"
    prior_scale: float = 1.0
    fisher_examples: int = 0

    weighs_alike: ClassVar[bool] = True
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)

    def __post_init__(self) -> None:
        for name, least in (("local_epochs", 1), ("batch_size", 0), ("fisher_examples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("lr", "alpha"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        for name in ("delta", "prior_scale"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.prior not in ("none", "last"):
            raise ValueError(f"prior must be none or last, got {self.prior!r}")

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("weighed", "curvature")

    def down(self, layout: Layout) -> Layout:
        return layout.repeated("params").followed_by(prior=(layout.num_parameters,))

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(
            training,
            local_epochs=self.local_epochs,
            local_steps=None,
            batch_size=self.batch_size,
            lr=self.lr,
            momentum=0.0,
            optimizer="sgd",
        )

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return N times what the client adds to both of the server's sums, and its mean loss."""
        theta, loss = self._trained(visit)
        curvature = self._fisher(visit, theta) * visit.num_examples
        update = theta - visit.received
        weighed = (self._known(visit.shared["prior"]) + curvature) * update
        return torch.cat([weighed, curvature]) * visit.num_clients, loss

    def _trained(self, visit: Visit) -> tuple[Tensor, Tensor]:
        theta, losses, n = visit.received.clone(), list[Tensor](), visit.num_examples
        stream, size = visit.stream("uncertainty_merge batches"), self.batch_size or n
        for _ in range(self.local_epochs):
            for rows in np.split(stream.permutation(n), range(size, n, size)):
                gradient, loss = visit.gradient(theta, rows)
                theta, losses = theta - self.lr * gradient, [*losses, loss]
        return theta, torch.stack(losses).mean()

    def _fisher(self, visit: Visit, theta: Tensor) -> Tensor:
        """Return the mean square of examples' gradients at labels that the model draws.  # [P]"""
        stream, count = visit.stream("uncertainty_merge labels"), visit.num_examples
        rows = stream.permutation(count)[: self.fisher_examples or count]
        total = torch.zeros_like(theta)
        for some in np.split(rows, range(_EXAMPLES, len(rows), _EXAMPLES)):
            chances = visit.outputs(theta, some).double().softmax(dim=1).cumsum(dim=1)
            drawn = torch.from_numpy(stream.uniform(size=(len(some), 1)))
            labels = (drawn > chances).sum(dim=1).clamp(max=chances.shape[1] - 1)
            total += visit.example_gradients(theta, some, labels).square().sum(dim=0)
        return total / len(rows)

    def _known(self, prior: Tensor) -> Tensor:
        """Return delta + s_0 H_0.  # [P]"""
        return self.delta + self.prior_scale * prior

    def init(self) -> State:
        return {"prior": None}

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return H_0 in one vector.  # [P]"""
        return torch.zeros_like(params) if state["prior"] is None else state["prior"]

    def step(self, params: Tensor, aggregate: Tensor, state: Any, share: float) -> tuple[Tensor, State]:
        """Step by both sums; ``share`` times a mean of what is N times as large is a sum."""
        weighed, curvature = (share * aggregate).view(2, -1)
        curvature = curvature.clamp(min=0)  # noise may have made it less
        below = self._known(self.extra(params, state)) + self.alpha * curvature
        move = torch.where(below > 0, weighed / below.clamp(min=torch.finfo(below.dtype).tiny), 0.0)
        return params + self.alpha * move, {"prior": curvature if self.prior == "last" else None}
