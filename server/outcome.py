"""What happened in a round, for whoever records it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..clients.messages import Broadcast
from ..core.contracts import Delivery, NoGuarantee, Release, Sampling, Verdict
from ..core.trees import State
from ..core.updates import Updates
from ..privacy.accounting import Epsilon

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reception:
    """What happened in a round up to the defense's decision.

    Attributes:
        round: The round, from 0.
        broadcast: What the clients received.
        shared: What both sides of the codec knew of the round.
        bytes_down: Bytes that one client received, or would have received that trains the whole model.
        bytes_received: Bytes that all clients received that began in the round.
        losses: Each client's mean loss over its local steps, float32.  # [K]
        raw_norms: L2 norm of each update before client-side clipping and noise, float64.  # [K]
        honest: The cohort's updates after local training, before any lie. Where sums were formed on the
            workers, the vectors and buffers of ``honest``, ``sent`` and ``received`` are [K, 0].
        sent: The cohort's updates as they left the clients' hands.
        norms: L2 norm of each update sent, float64.  # [K]
        frames: The bytes that each client sent, in the order of ``sent``; none where sums were formed.
        bytes_up: How many they are, buffers included, int64.  # [K]
        delivery: What the network did with them.
        refused: From client id to (status, reason): ``undecodable`` or ``non_finite``.
        received: The clients whose updates reached the defense, and those updates.
        verdict: The defense's decision, with what it says of single clients: behind a pre-aggregation that
            mixes them there are no weights, and where it leaves fewer rows no flags, scores and details.
        aggregation_seconds: Wall-clock seconds of pre-aggregation and defense: all else is equal in equal
            rounds.
    """

    round: int
    broadcast: Broadcast
    shared: State
    bytes_down: int
    bytes_received: int
    losses: Tensor
    raw_norms: Tensor
    honest: Updates
    sent: Updates
    norms: Tensor
    frames: Sequence[bytes]
    bytes_up: Array
    delivery: Delivery
    refused: Mapping[int, tuple[str, str]]
    received: Updates
    verdict: Verdict
    aggregation_seconds: float

    def frame(self, client_id: int) -> bytes | None:
        """Return the bytes that a client sent, or None where it did not take part."""
        rows = (self.sent.client_ids == client_id).nonzero().flatten().tolist()
        return self.frames[rows[0]] if rows and self.frames else None


@dataclass(frozen=True)
class Outcome(Reception):
    """What happened in a round, for whoever records it.

    Attributes:
        release: What the privacy mechanism released, or why it guarantees nothing.
        epsilon: The budget spent so far, this round included.
        sampling: How the cohort was sampled.
    """

    release: Release | NoGuarantee
    epsilon: Epsilon
    sampling: Sampling
