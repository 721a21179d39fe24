"""CENSOR: let out, in the place of an update, one that is orthogonal to it in every tensor.

Source: Zhang, Cheng, Shen, Ribeiro, An, Chen, Zhang, Li. CENSOR: Defense Against Gradient Inversion via
Orthogonal Subspace Bayesian Sampling. NDSS 2025, arXiv:2501.15718 (abstract), and the authors' code. In that
code the projection is divided by the norm once where it must be twice, so that what comes out is orthogonal
only where a tensor's gradient has norm 1; here it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import BlockVisit
from .parts.loss import loss_at
from .parts.noise import drawn, gaussian

_GONE = 1e-4  # of a random direction's length: what is left of it in no more than one dimension


@dataclass(frozen=True)
class Censor:
    """Draw random updates orthogonal to a client's own, and let out the one that serves its examples best.

    Every tensor of a draw is made orthogonal to the update's and as long. The draw is taken with which the
    client's first batch has the least loss, at the parameters that it received, the model in evaluation mode.
    In tensors of one entry nothing is orthogonal, and 0 is let out. A row that is not finite stays.

    Reconstruction: the authors draw a gradient in each step and try it with a step of 1e-4 of their own; here
    an update is drawn once, and tried as it is.

    It looks at examples, and nothing bounds what one client changes: no differential privacy.

    Attributes:
        trials: How many updates are drawn, at least 1. The number is ours.
    """

    trials: int = 20

    adaptive: ClassVar[Mapping[str, object]] = {"name": "bayes", "likelihood": "orthogonal"}

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}")

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        draws = drawn(visit, update.repeat(1, self.trials), gaussian)  # [K, trials P]
        found = update.clone()
        for row in range(len(update)):
            if bool(update[row].isfinite().all()):
                found[row] = self._best(update[row], draws[row].reshape(self.trials, -1), visit, row)
        return found

    def _best(self, update: Tensor, draws: Tensor, visit: BlockVisit, row: int) -> Tensor:
        """Return what a client [P] lets out, of random directions [trials, P].  # [P]"""
        tried = draws.clone()
        for slot in visit.layout.parameters:
            part = slice(slot.start, slot.start + slot.size)
            tried[:, part] = _orthogonal(draws[:, part], update[part])
        x, y = visit.batch(row)
        if not len(y):
            return tried[0]
        with torch.no_grad():
            models = (visit.layout.views(visit.received + one) for one in tried)
            losses = torch.stack([loss_at(visit.model, dict(params), x, y) for params in models])
        return tried[int(losses.nan_to_num(nan=torch.inf).argmin())]


def _orthogonal(draws: Tensor, update: Tensor) -> Tensor:
    """Return draws [T, n] without their part along an update [n], as long as the update.  # [T, n]"""
    length = update.norm()
    if not float(length):
        return torch.zeros_like(draws)
    along = update / length
    rest = draws
    for _ in range(2):  # twice: once leaves an error of the size of what is taken away
        rest = rest - (rest @ along)[:, None] * along
    norms = rest.norm(dim=1, keepdim=True)  # [T, 1]
    there = norms > _GONE * draws.norm(dim=1, keepdim=True)
    found: Tensor = rest / norms.clamp(min=1e-30) * length
    return found.where(there, 0.0)
