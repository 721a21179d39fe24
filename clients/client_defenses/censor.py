"""CENSOR: let out, in the place of an update, one that is orthogonal to it in every tensor.

Source: Zhang, Cheng, Shen, Ribeiro, An, Chen, Zhang, Li. CENSOR: Defense Against Gradient Inversion via
Orthogonal Subspace Bayesian Sampling. NDSS 2025, arXiv:2501.15718 (abstract), and the authors' code. In that
code the projection is divided by the norm once where it must be twice, so that what comes out is orthogonal
only where a tensor's gradient has norm 1; here it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import BlockVisit
from .parts.loss import loss_at
from .parts.noise import gaussian

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
        found = update.clone()
        for row in range(len(update)):
            if bool(update[row].isfinite().all()):
                found[row] = self._best(update[row], visit, row)
        return found

    def _best(self, update: Tensor, visit: BlockVisit, row: int) -> Tensor:
        """Return what a client with this update [P] lets out.  # [P]"""
        (x, y), stream = visit.batch(row), visit.stream(row)
        best, least = update, torch.inf
        for trial in range(self.trials if len(y) else 1):
            draw = torch.from_numpy(gaussian(stream, len(update)).astype(np.float32)).to(update.device)
            for slot in visit.layout.parameters:
                part = slice(slot.start, slot.start + slot.size)
                draw[part] = _orthogonal(draw[part], update[part])
            loss = self._loss(visit, draw, x, y) if len(y) else 0.0
            if trial == 0 or loss < least:
                best, least = draw, loss
        return best

    def _loss(self, visit: BlockVisit, update: Tensor, x: Tensor, y: Tensor) -> float:
        with torch.no_grad():
            return float(loss_at(visit.model, visit.layout.views(visit.received + update), x, y))


def _orthogonal(draw: Tensor, update: Tensor) -> Tensor:
    """Return a draw [n] without its part along an update [n], as long as the update.  # [n]"""
    length = update.norm()
    if not float(length):
        return torch.zeros_like(draw)
    along = update / length
    rest = draw
    for _ in range(2):  # twice: once leaves an error of the size of what is taken away
        rest = rest - (rest @ along) * along
    left = rest.norm()
    if not float(left) > _GONE * float(draw.norm()):
        return torch.zeros_like(draw)
    found: Tensor = rest / left * length
    return found
