"""Zeno: trust the updates that lower the server's own loss most for their length.

Source: Xie, Koyejo, Gupta. Zeno: Distributed Stochastic Gradient Descent with Suspicion-based
Fault-tolerance. ICML 2019, Definition 2 (stochastic descendant score) and Algorithm 1. arXiv:1805.10032.
The default of ``rho`` is unverified.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.errors import InfeasibleCohort
from ..core.updates import Context, OwnExamples, Updates, row_norms
from .parts.screening import needed, screened, stream, uniform

_NUMBERS = 2**22  # of the candidates that are written down together: 16 MiB


@dataclass(frozen=True)
class Zeno:
    """Average all but the ``num_byzantine`` updates x with the lowest loss(w) - loss(w + x) - rho |x|^2.

    Losses are means over a batch of the server's own examples, the same for all candidates of a round; w are
    the parameters that the cohort received, and each candidate has its client's own batch statistics. The
    paper scores gradients u with a step size gamma: x is -gamma u, and ``rho`` here the paper's over gamma
    squared. A loss that is no number is the lowest score. Of equals the client with the highest id goes. Who
    is left out is flagged, in every round, whether or not anybody lies.

    It fails where the server's examples are unlike the clients': what helps classes that it has none of is no
    descent to it. It judges one update at a time, so that a lie that lowers the loss is kept, and averaged.

    Attributes:
        num_byzantine: Clients to leave out of a cohort (the paper's b), at least 0 and below its size.
        rho: What length costs, in units of loss by squared L2 norm, at least 0.
        batch_size: Examples drawn in a round (the paper's n_r), at least 1; 0 takes all.
    """

    num_byzantine: int
    rho: float = 5e-4
    batch_size: int = 0

    needs_root: ClassVar[bool] = True
    runs_models: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_byzantine < 0:
            raise ValueError(f"num_byzantine must be at least 0, got {self.num_byzantine}")
        if not 0 <= self.rho < inf:
            raise ValueError(f"rho must be at least 0 and finite, got {self.rho}")
        if self.batch_size < 0:
            raise ValueError(f"batch_size must be at least 0, got {self.batch_size}")

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return self.num_byzantine + 1

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if len(updates) < self.least_cohort:
            raise InfeasibleCohort(f"zeno leaves out {self.num_byzantine} of a cohort of {len(updates)}")
        context = needed(updates, "zeno", "the server's own examples")
        scores = descent(updates, context, self._batch(updates, context))
        scores -= self.rho * row_norms(updates.vectors).square()
        scores = scores.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)  # [K]
        order = scores.argsort(stable=True, descending=True)
        out = torch.zeros(len(updates), dtype=torch.bool)
        out[order[len(updates) - self.num_byzantine :]] = True
        return screened(updates, uniform(~out), out, scores), state

    def _batch(self, updates: Updates, context: Context) -> OwnExamples:
        """Return the examples of this round, drawn without replacement."""
        own = context.examples
        if own is None:
            raise ValueError("zeno needs the server's own examples: root_examples must be above 0")
        if not 0 < self.batch_size < len(own.y):
            return own
        rows = stream(updates, "zeno").choice(len(own.y), self.batch_size, replace=False)
        return OwnExamples(own.x[rows], own.y[rows])


def descent(updates: Updates, context: Context, batch: OwnExamples) -> Tensor:
    """Return by how much each update lowers the mean loss of a batch, float64.  # [K]"""
    run, loss = context.forward, context.loss
    if run is None or loss is None:
        raise ValueError("zeno needs to run models: context.forward and loss must be given, got None")
    theirs = updates.buffers if updates.buffers.shape[1] else None

    def losses(params: Tensor, buffers: Tensor | None) -> Tensor:
        return torch.stack([loss(out, batch.y).double() for out in run(params, batch.x, buffers)])

    before = losses(context.params[None], None)
    height = max(1, _NUMBERS // max(1, updates.vectors.shape[1]))
    after = [
        losses(
            context.params + updates.vectors[at : at + height],
            None if theirs is None else theirs[at : at + height],
        )
        for at in range(0, len(updates), height)
    ]
    return before - torch.cat(after)
