"""FLTrust: trust a client as far as its update points where the server's own update points.

Source: Cao, Fang, Liu, Gong. FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping.
NDSS 2021, Algorithm 2. arXiv:2012.13995
"""

from dataclasses import dataclass
from typing import ClassVar

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms
from .parts.geometry import NO_LENGTH, cosines_to
from .parts.screening import needed, screened


@dataclass(frozen=True)
class FLTrust:
    """Average the updates, scaled to the length of the server's own and weighted by the cosine to it.

    The server trains on ``root_examples`` of its own in every round, just as a client does. Scores are the
    trust max(0, cos); who gets none is flagged. Nobody trusted, or a root update of length 0: the zero
    update. It has no options: everything follows from the root examples.
    """

    needs_root: ClassVar[bool] = True
    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        root = needed(updates, "fltrust", "the server's own update").root
        if root is None:
            raise ValueError("fltrust needs the server's own update: root_examples must be above 0")
        trust = cosines_to(updates.vectors, root).clamp(min=0.0)  # [K]
        lengths = row_norms(updates.vectors).clamp(min=NO_LENGTH)  # [K]
        weights = trust * row_norms(root[None]) / lengths / trust.sum().clamp(min=1e-300)
        return screened(updates, weights, trust == 0, trust), state
