"""FoolsGold: clients whose updates point the same way for too long are taken for one attacker's sybils.

Source: Fung, Yoon, Beschastnikh. Mitigating Sybils in Federated Learning Poisoning. 2018, Algorithm 1.
arXiv:1808.04866. Dividing by the sum of the weights, the cap of 0.99 and the weights from the current
round alone (``history = false``) are those of a public re-implementation (cpwan's), which gave the golden
values of the test; another one takes only the last layer and a cap of 0.999999.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.geometry import cosines
from .parts.memory import check_max_clients, remember, stored
from .parts.screening import screened

Histories = dict[int, Tensor]


@dataclass(frozen=True)
class FoolsGold:
    """Weigh each client by how little the sum of its updates resembles anybody else's.

    A client is compared with the others of its cohort only. Scores are the largest cosine to another client
    after pardoning: high is suspected; who gets no weight at all is flagged. Two honest clients with
    nearly the same data look like sybils, and where all are equal the aggregate is the zero update.

    Attributes:
        history: Compare the sums of all updates that each client has sent, or else the current ones.
        cap: Stands for 1 in the logit, between 0.5 and 1 (both excluded): the closer to 1, the sharper.
        normalise: Divide by the sum of the weights, or else apply the weighted sum itself.
        max_clients: Clients remembered, at least 1: P numbers each. The one seen longest ago goes first.
    """

    history: bool = True
    cap: float = 0.99
    normalise: bool = True
    max_clients: int = 1000

    stale: ClassVar[bool] = True  # a sum of what a client sent, whenever that began
    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def __post_init__(self) -> None:
        if not 0.5 < self.cap < 1:
            raise ValueError(f"cap must be in (0.5, 1), got {self.cap}")
        check_max_clients(self.max_clients)

    @property
    def remembers_clients(self) -> bool:
        """Whether the sums of single clients are kept from round to round."""
        return self.history

    def init(self) -> Histories:
        return {}

    def aggregate(self, updates: Updates, state: Histories) -> tuple[Verdict, Histories]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        seen = updates.vectors
        if self.history:
            news = _summed(updates, state)
            seen, state = torch.stack(list(news.values())), remember(state, news, self.max_clients)
        weights, alike = foolsgold_weights(cosines(seen), self.cap)
        shares = weights / weights.sum().clamp(min=1e-300) if self.normalise else weights
        return screened(updates, shares, weights == 0, alike), state


def _summed(updates: Updates, state: Histories) -> Histories:
    """Return each client's history with this round's update, summed in float64 and saturating."""
    rows = zip(updates.client_ids.tolist(), updates.vectors, strict=True)
    return {i: stored(row.double() + state[i] if i in state else row, row.dtype) for i, row in rows}


def foolsgold_weights(cosine: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Return (each client's weight in [0, 1], its largest cosine to another after pardoning).  # [K], [K]

    Args:
        cosine: Cosine of every two histories.  # [K, K]
        cap: What stands for 1 in the logit.
    """
    alike = cosine.clone().fill_diagonal_(0.0)
    nearest = alike.amax(dim=1)  # [K], never below 0
    ratio = nearest[:, None] / nearest[None, :].clamp(min=1e-300)
    pardoned = torch.where(nearest[:, None] < nearest[None, :], alike * ratio, alike).amax(dim=1)  # [K]
    alone = (1 - pardoned).clamp(0, 1)
    if float(alone.max()) == 0:
        return torch.zeros_like(alone), pardoned
    share = alone / alone.max()
    share = torch.where(share == 1, cap, share)
    return ((share / (1 - share)).log() + 0.5).clamp(0, 1), pardoned
