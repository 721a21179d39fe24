"""What clients do once they may begin: train, lie where they attack, encode, and send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...clients.codecs.parts.sizes import longest_frames
from ...clients.codecs.parts.wire import encode_cohort
from ...core.contracts import CodecStreams, Delivery, Starts
from ...core.declarations import Codecs, Networks, declared
from ...core.seeds import generator
from ...core.updates import Updates, row_norms
from .catching_up import missed_bytes
from .corruption import corrupt
from .downlink import with_memory
from .facts import factored
from .link import later
from .mailbox import Array, Downlink, Mailbox, Messages

if TYPE_CHECKING:
    from ...clients.exchange.messages import Summed, Trained
    from ...clients.pools.base import ClientPool
    from ...core.trees import State
    from ..plan import Plan
    from ..state import ServerState


@dataclass(frozen=True)
class Total:
    """What is left of a cohort whose updates the workers added up.

    Attributes:
        summed: Their sum, and what is known of each.
        bytes_up: Bytes that each client sent, buffers included, int64.  # [K]
        delivery: What the network did with them.
    """

    summed: Summed
    bytes_up: Array
    delivery: Delivery


@dataclass(frozen=True)
class Sent:
    """What the second half of a round needs of the first, besides the mailbox.

    Attributes:
        drawn: The clients that may begin in the round, ascending, int64.  # [D]
        down: What those who began received.
        root: The server's own training in the round, or None.
        began: Ids of those who began, in the order in which they did, int64.  # [B]
        groups: In how many groups they did.
        bytes_up: How many bytes they sent.
        bytes_down: How many bytes they received.
        total: Their sum, where workers add up: then there is no message of theirs.
        encode_seconds: Wall-clock seconds in which their messages became frames.
        missed: From client id to the bytes that one that was away received besides, which count as received.
        link_seconds: How long all their bytes took on their links.
    """

    drawn: Array
    down: Downlink
    root: Trained | None
    began: Array
    groups: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    total: Total | None = None
    encode_seconds: float = 0.0
    missed: Mapping[int, int] = field(default_factory=dict)
    link_seconds: float = 0.0


def train_root(plan: Plan, state: ServerState, down: Downlink) -> Trained | None:
    """Return what the server's own examples make of the round's broadcast, as defenses see a client's."""
    if plan.root is None:
        return None
    trained = plan.root.train(with_memory(plan, state, down.broadcast, [plan.root.number]))
    return replace(trained, updates=factored(plan, trained.updates, trained.updates.facts))


def post(
    plan: Plan, state: ServerState, sent: Sent, starts: Starts, pool: ClientPool
) -> tuple[ServerState, Sent]:
    """Let clients begin together; return the state with their messages in the mailbox."""
    down, ids = sent.down, starts.client_ids
    seen = replace(state, params=down.broadcast.params)  # what everybody trains from
    own = sent.root.updates.vectors[0] if sent.root else None
    clients = plan.canaries.clients(ids)
    broadcast = with_memory(plan, state, down.broadcast, clients.tolist())
    trained = pool.train(broadcast, clients, plan.sampling.expected_size)
    context = plan.context(state.round, seen.params, state.buffers, own)
    everybody = plan.canaries.join(trained, ids, context)
    honest = plan.with_presence(replace(everybody.updates, started=torch.full((len(ids),), state.round)))
    canaries = trained.memory.new_zeros(len(ids) - len(clients), trained.memory.shape[1])
    lied, attacks = corrupt(plan, honest, seen, own, sent.groups)
    begin = perf_counter()
    frames, codec, bytes_up = _encode(plan, state, lied, down.streams(plan.seed))
    spent = sent.encode_seconds + perf_counter() - begin
    missed = missed_bytes(plan, state, ids)
    received = plan.received_bytes(down, ids.tolist()) + missed
    fate = _deliver(plan, sent, honest, received, bytes_up)
    kept = lied.bare()  # presence follows from who began when, and is never stored
    group = Messages(
        updates=kept,
        honest=kept if lied is honest else honest.bare(),
        losses=everybody.losses,
        raw_norms=everybody.norms,
        norms=_norms(plan, state.round, trained, lied),
        memory=torch.cat([trained.memory, canaries]) if len(canaries) else trained.memory,
        frames=frames,
        bytes_up=bytes_up,
        begins=np.full(len(ids), starts.at),
        seconds=fate.client_seconds,
        waits=np.full(len(ids), starts.at + fate.round_seconds),
        arrives=np.where(fate.arrived, starts.at + fate.client_seconds, np.inf),
    )
    box = (state.mailbox or Mailbox()).posted(group, down)
    state = replace(state, mailbox=box, attacks=attacks, codec=codec)
    began = np.concatenate([sent.began, ids])
    sent = replace(sent, began=began, groups=sent.groups + 1, encode_seconds=spent)
    return state, _counted(plan, sent, ids, received, missed, bytes_up)


def add_up(plan: Plan, state: ServerState, sent: Sent, pool: ClientPool) -> tuple[ServerState, Sent]:
    """Let the workers add up what honest clients send: the same round where nobody needs single updates."""
    summed = pool.train_sum(sent.down.broadcast, sent.drawn)
    size = plan.frame_up + plan.bytes_beside_up
    sizes = np.full(len(sent.drawn), size, dtype=np.int64)
    missed = missed_bytes(plan, state, sent.drawn)
    received = sent.down.size + missed
    total = Total(summed, sizes, _deliver(plan, sent, summed, received, sizes))
    sent = replace(sent, began=sent.drawn, total=total)
    return state, _counted(plan, sent, sent.drawn, received, missed, sizes)


def _counted(plan: Plan, sent: Sent, ids: Array, received: Array, missed: Array, bytes_up: Array) -> Sent:
    """Return what was sent, with the bytes of clients that began together, and the time that they took."""
    away = {client: size for client, size in zip(ids.tolist(), missed.tolist(), strict=True) if size}
    seconds = 0.0 if plan.link is None else float(plan.link.seconds(ids, received, bytes_up).sum())
    return replace(
        sent,
        bytes_up=sent.bytes_up + int(bytes_up.sum()),
        bytes_down=sent.bytes_down + int(received.sum()),
        missed={**sent.missed, **away},
        link_seconds=sent.link_seconds + seconds,
    )


def _norms(plan: Plan, round_: int, trained: Trained, lied: Updates) -> Tensor:
    """Return each message's norm, taken anew of those alone that a client did not train so.  # [K]"""
    if lied.vectors is trained.updates.vectors:
        return trained.sent_norms
    attackers = torch.tensor(sorted(plan.malicious(round_)), dtype=torch.int64)
    kept = torch.isin(lied.client_ids, trained.updates.client_ids) & ~torch.isin(lied.client_ids, attackers)
    norms = torch.empty(len(lied), dtype=torch.float64)
    norms[kept] = trained.sent_norms[torch.isin(trained.updates.client_ids, lied.client_ids[kept])]
    norms[~kept] = row_norms(lied.vectors[~kept])
    return norms


def _encode(
    plan: Plan, state: ServerState, lied: Updates, streams: CodecStreams
) -> tuple[Sequence[bytes], State, Array]:
    """Return (the frames, the codec's state, the bytes of each message, what is beside included [K])."""
    beside = plan.bytes_beside_up
    if declared(plan.codec, Codecs.verbatim):  # written when somebody looks at it
        return (), state.codec, longest_frames(plan.codec, plan.exchange.up, lied) + beside
    frames, codec = encode_cohort(plan.codec, lied, plan.exchange.up, plan.public, state.codec, streams)
    return frames, codec, np.array([len(frame) + beside for frame in frames], dtype=np.int64)


def _deliver(plan: Plan, sent: Sent, who: Updates | Summed, received: Array, bytes_up: Array) -> Delivery:
    """Send the frames; a client computes on the examples that it has, whatever it claims."""
    again = (sent.groups,) if sent.groups else ()
    chance = generator(plan.seed, "network", sent.down.broadcast.round, *again)
    alike = plan.levels is None and not declared(plan.codec_down, Codecs.differences)
    down = sent.down.size if alike and not sent.down.logs else received
    fate = plan.network.deliver(who.num_examples.numpy(), down, bytes_up, chance)
    ids, own = who.client_ids.numpy(), declared(plan.network, Networks.own_seconds)
    if own is not None:
        fate = later(fate, own(ids, sent.down.broadcast.round, plan.seed), inf)
    if plan.link is None:
        return fate
    limit = declared(plan.network, Networks.gives_up_after)
    return later(fate, plan.link.seconds(ids, received, bytes_up), inf if limit is None else limit)
