"""Orthogonal: an update that points against a reference loses that part of it.

Source: reconstruction from the abstract of: Mao, Xu, et al. ODICE: Revealing the Mystery of Distribution
Correction Estimation via Orthogonal-gradient Update. ICLR 2024. arXiv:2402.00348 (authors and number not
checked), where one of two gradients is projected onto the normal plane of the other. Clients' updates, and
the server's own or last one as the reference, are this package's own transfer.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms, weighted_sum
from .mean import check_weighting, client_shares
from .parts.geometry import NO_LENGTH, products
from .parts.memory import stored
from .parts.screening import needed


@dataclass(frozen=True)
class Orthogonal:
    """Average the updates, each without its component along the reference where that is negative.

    Before the first aggregate that is not 0 there is no reference, and it is the mean. Scores are the
    products with the reference over its squared length: below 0 is what was taken out.

    Attributes:
        reference: ``"previous"``: the last aggregate. ``"root"``: the update that the server trained on
            ``root_examples`` of its own.
        weighting: ``"uniform"``, or ``"num_examples"``: each client counts as its (claimed) examples.
    """

    reference: Literal["previous", "root"] = "previous"
    weighting: Literal["uniform", "num_examples"] = "uniform"

    def __post_init__(self) -> None:
        if self.reference not in ("previous", "root"):
            raise ValueError(f"reference must be previous or root, got '{self.reference}'")
        check_weighting(self.weighting)

    @property
    def needs_root(self) -> bool:
        """Whether the server must have examples."""
        return self.reference == "root"

    @property
    def weighs_examples(self) -> bool:
        """Whether clients count as their examples."""
        return self.weighting == "num_examples"

    def init(self) -> Tensor | None:
        """Return the last aggregate [P]: none yet."""
        return None

    def aggregate(self, updates: Updates, state: Tensor | None) -> tuple[Verdict, Tensor | None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        reference = self._reference(updates, state)
        shares = client_shares(updates, self.weighting)  # [K]
        total = weighted_sum(updates.vectors, shares)  # [P]
        along = torch.zeros(len(updates), dtype=torch.float64)  # [K]
        length = 0.0 if reference is None else float(row_norms(reference[None])[0])
        if reference is not None and length >= NO_LENGTH:
            along = products(updates.vectors, reference[None])[:, 0] / length**2
            total -= float((shares * along.clamp(max=0)).sum()) * reference.double()
        aggregate = stored(total, updates.vectors.dtype)
        scores = dict(zip(updates.client_ids.tolist(), along.tolist(), strict=True))
        return Verdict(aggregate, shares, scores=scores), self._next(aggregate, state)

    def _reference(self, updates: Updates, state: Tensor | None) -> Tensor | None:
        if not self.needs_root:
            return state
        root = needed(updates, "orthogonal", "the server's own update").root
        if root is None:
            raise ValueError("orthogonal needs the server's own update: root_examples must be above 0")
        return root

    def _next(self, aggregate: Tensor, state: Tensor | None) -> Tensor | None:
        keep = self.reference == "previous" and bool(aggregate.any())
        return aggregate.clone() if keep else state
