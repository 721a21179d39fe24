"""What happened in a round, for whoever records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from ...clients.exchange.messages import Broadcast
    from ...core.contracts import Delivery, NoGuarantee, Release, Sampling, Verdict
    from ...core.frames import Record
    from ...core.updates import Updates
    from ...privacy.accounting import Epsilon
    from ..plan import Plan
    from .mailbox import Downlink

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reception:
    """What happened in a round up to the defense's decision.

    The cohort are those whose messages count in the round, or are given up in it; where the schedule is not
    a plain one, some began in rounds before (``sent.started``).

    Attributes:
        round: The round, from 0.
        downs: What was received in each round in which a client of the cohort began, and in this one.
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
        sum_row: What the server sees in the place of messages where a mechanism makes one row of them
            (``secure_sum``), float32; else None.  # [M]
        aggregation_seconds: Wall-clock seconds of pre-aggregation and defense: all but seconds is equal in
            equal rounds.
        records: What was read of each frame that was decoded, by client id; of a verbatim codec nothing.
        encode_seconds: Wall-clock seconds in which the messages of those that began became frames; 0 where
            sums were formed.
        decode_seconds: Wall-clock seconds in which the frames that came were read.
        begins: When each client of the cohort began, in virtual seconds since the start of the run, float64;
            None where sums were formed.  # [K]
    """

    round: int
    downs: Mapping[int, Downlink]
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
    sum_row: Tensor | None
    aggregation_seconds: float
    records: Mapping[int, Sequence[Record]] = field(default_factory=dict, kw_only=True)
    encode_seconds: float = field(default=0.0, kw_only=True)
    decode_seconds: float = field(default=0.0, kw_only=True)
    begins: Array | None = field(default=None, kw_only=True)

    @property
    def broadcast(self) -> Broadcast:
        """What the clients that began in this round received."""
        return self.downs[self.round].broadcast

    @property
    def bytes_down(self) -> int:
        """Bytes that each of them received, or would have if it trained the whole model."""
        return self.downs[self.round].size

    @cached_property
    def starts(self) -> Mapping[int, frozenset[int]]:
        """Each round in which clients of the cohort began, ascending, and which."""
        ids, started = self.sent.client_ids, self.sent.started
        rounds = sorted(set(started.tolist()))
        return {round_: frozenset(ids[started == round_].tolist()) for round_ in rounds}

    def kinds(self, plan: Plan) -> dict[int, str]:
        """Return what each client of the cohort that is not plainly honest ran when it began, by id."""
        return {i: kind for r, ids in self.starts.items() for i, kind in plan.kinds(r).items() if i in ids}

    def malicious(self, plan: Plan) -> set[int]:
        """Return the clients of the cohort that attacked when they began."""
        return {client for round_, ids in self.starts.items() for client in plan.malicious(round_) & ids}

    def down(self, client_id: int) -> Downlink:
        """Return what a client of the cohort received when it began."""
        return self.downs[int(self.sent.started[self.sent.client_ids == client_id])]

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
        began: Ids of the clients that began in the round, in the order in which they did, int64.  # [B]
        bytes_sent: Bytes that they sent.
        bytes_received: Bytes that they received.
        missed: From client id to those of them that one that was away received besides the round's frame.
        link_seconds: How long the bytes of those that began took on their links, on average; None without
            links, and where nobody began.
        former: Clients that attacked in this round or before it; None: those that the sampler tells.
    """

    release: Release | NoGuarantee
    epsilon: Epsilon
    sampling: Sampling
    began: Array
    bytes_sent: int
    bytes_received: int
    missed: Mapping[int, int] = field(default_factory=dict)
    link_seconds: float | None = None
    former: frozenset[int] | None = None

    def attacked(self, plan: Plan) -> frozenset[int]:
        """Return the clients that have attacked by the end of the round."""
        return plan.attacked(self.round) if self.former is None else self.former
