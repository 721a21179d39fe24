"""What the server sends to the workers that train its clients, and what they send home."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...core.updates import Updates

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Broadcast:
    """What the server sends to every client of a cohort.

    Attributes:
        round: The round, from 0.
        params: Global parameters, float32.  # [P]
        buffers: Global floating buffers, float32.  # [Q]
        extra: What the algorithm's server half sends besides, float32.  # [E, P]
        memory: What each client of the cohort (or of the block of it that is trained) remembers, in the order
            of their ids, float32.  # [K, S]
        message_length: M, the length of what a client sends; None where it is P.
        num_facts: F, how many single numbers a client states besides.
    """

    round: int
    params: Tensor
    buffers: Tensor
    extra: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    memory: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    message_length: int | None = None
    num_facts: int = 0

    @property
    def message_size(self) -> int:
        """M."""
        return len(self.params) if self.message_length is None else self.message_length

    def to(self, device: str) -> Broadcast:
        """Return the broadcast with what clients train from on a device; buffers stay."""
        moved = {name: getattr(self, name).to(device) for name in ("params", "extra", "memory")}
        return replace(self, **moved)

    def is_for_the_round_of(self, other: Broadcast) -> bool:
        """Return whether it differs in no more than what clients remember."""
        same = all(getattr(self, name) is getattr(other, name) for name in ("params", "buffers", "extra"))
        return same and self.round == other.round

    def to_block(self, start: int, length: int) -> Broadcast:
        """Return the broadcast with what these of the cohort's clients remember."""
        if self.memory.numel() == 0:
            return self
        return replace(self, memory=self.memory[start : start + length])


@dataclass(frozen=True)
class Trained:
    """What the clients of a cohort (or of a block of it) hold after local training.

    Attributes:
        updates: Their updates, after client-side clipping and noise.
        losses: Each client's mean loss over its local steps, float32.  # [K]
        norms: Each update's L2 norm before the client clipped it, float64: for the experimenter's eyes
            only.  # [K]
        sent_norms: Each update's L2 norm as it is, float64.  # [K]
        memory: What each client will remember if its message is counted, float32.  # [K, S]
    """

    updates: Updates
    losses: Tensor
    norms: Tensor
    sent_norms: Tensor
    memory: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def __post_init__(self) -> None:
        if len(self.memory) != len(self.updates):
            object.__setattr__(self, "memory", torch.zeros(len(self.updates), 0))

    def arrays(self) -> list[Array]:
        """Return (vectors, buffers, examples, losses, both norms, memory, facts if any) to send home."""
        u, columns = self.updates, (self.losses, self.norms, self.sent_norms)
        facts = (u.facts,) if u.facts.shape[1] else ()
        return [t.numpy() for t in (u.vectors, u.buffers, u.num_examples, *columns, self.memory, *facts)]


@dataclass(frozen=True)
class Summed:
    """What is left of a cohort (or of a block of it) where nobody needs single updates.

    Attributes:
        client_ids: Stable ids, ascending, int64.  # [K]
        total: Sum of the finite updates, each times what its client counts, float64.  # [P]
        buffers: Sum of the same clients' buffers, float64.  # [Q]
        num_examples: Examples behind each update, int64.  # [K]
        losses: Each client's mean loss over its local steps, float32.  # [K]
        raw_norms: L2 norm of each update before client-side clipping and noise, float64.  # [K]
        norms: The same after it.  # [K]
        finite: Whether the client is in the sums: its update and buffers hold no NaN or infinity.  # [K]
    """

    client_ids: Tensor
    total: Tensor
    buffers: Tensor
    num_examples: Tensor
    losses: Tensor
    raw_norms: Tensor
    norms: Tensor
    finite: Tensor

    def arrays(self) -> list[Array]:
        """Return everything but the ids: what a block sends home."""
        sums, columns = (self.total, self.buffers), (self.num_examples, self.losses, self.raw_norms)
        return [t.numpy() for t in (*sums, *columns, self.norms, self.finite)]
