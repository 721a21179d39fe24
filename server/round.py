"""One round, in the order in which things happen in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ..clients.codecs.wire import VerbatimFrames, decode_cohort, encode_cohort, max_frame, settled, shared_by
from ..clients.messages import Broadcast, Trained
from ..core.client_rows import with_rows
from ..core.contracts import CodecStreams, Delivery, LinearDefense, Verdict
from ..core.declarations import Codecs, Defenses, Mechanisms, declared
from ..core.errors import PluginError
from ..core.seeds import generator
from ..core.trees import State
from ..core.updates import Context, Updates, all_finite, finite_rows, row_norms
from .cohorts import sample_cohort
from .corruption import corrupt
from .decision import decide
from .downlink import Downlink, send_down
from .outcome import Outcome, Reception
from .plan import Plan
from .release import release_of
from .state import ServerState

if TYPE_CHECKING:
    from ..clients.pools.base import ClientPool

Array = np.ndarray[Any, Any]
NON_FINITE = ("non_finite", "the update holds NaN or infinity")


def run_round(plan: Plan, state: ServerState, pool: ClientPool) -> tuple[ServerState, Outcome]:
    """Run one round. Equal arguments give equal results, whatever the pool.

    Raises:
        PluginError: A plug-in raised, or returned something of the wrong shape.
        WorkerError: The pool lost its workers for good.
    """
    plan = plan.at(state.round)
    drawn = sample_cohort(plan.sampler, plan.sampling, plan.seed, state.round)
    cohort = plan.canaries.cohort(drawn)
    down = send_down(plan, state, plan.canaries.clients(cohort).tolist())
    receive = _receive_sum if plan.summed else _receive_updates
    reception, state = receive(plan, state, pool, down, cohort)
    _check(reception.verdict, plan.exchange.up.num_parameters)
    noisy, privacy = plan.privacy.noise(
        reception.verdict.aggregate,
        plan.sampling.expected_size,
        state.privacy,
        generator(plan.noise_seed, "noise", state.round),
    )
    share = counted_share(plan, reception.received, reception.verdict)
    params, optimizer = plan.moved(state.params, noisy, state.optimizer, share)
    release = release_of(plan, privacy, state.round, cohort.tolist())
    after = replace(
        state,
        round=state.round + 1,
        params=params,
        privacy=privacy,
        optimizer=optimizer,
        ledger=plan.accountant.charge(release, plan.sampling, cohort.tolist(), state.ledger),
        clock=state.clock + reception.delivery.round_seconds,
        bytes_up=state.bytes_up + int(reception.bytes_up.sum()),
        bytes_down=state.bytes_down + int(down.bytes_of(cohort.tolist()).sum()),
        shared=shared_by(plan.codec, params, noisy, state.codec),
    )
    facts = {field.name: getattr(reception, field.name) for field in fields(reception)}
    epsilon = plan.accountant.epsilon(after.ledger)
    return after, Outcome(**facts, release=release, epsilon=epsilon, sampling=plan.sampling)


def counted_share(plan: Plan, received: Updates, verdict: Verdict) -> float:
    """Return the part of the population that an aggregate is a mean of; 0 where nobody was counted.

    Where sums are divided by the public, expected size of a cohort, it is that size that counts.
    """
    sensitivity = declared(plan.defense, Defenses.sensitivity)
    if sensitivity is not None and sensitivity(1.0, plan.sampling.expected_size) is not None:
        return plan.sampling.expected_size / plan.sampling.num_clients
    return 0.0 if verdict.fallback else len(received) / plan.sampling.num_clients


def _receive_updates(
    plan: Plan, state: ServerState, pool: ClientPool, down: Downlink, cohort: Array
) -> tuple[Reception, ServerState]:
    """Let every client send its update, and the defense decide; return that and the plug-ins' memories."""
    clients = pool.train(down.broadcast, plan.canaries.clients(cohort), plan.sampling.expected_size)
    root = plan.root.train(_to_root(plan, state, down.broadcast, plan.root.number)) if plan.root else None
    own = root.updates.vectors[0] if root else None
    seen = replace(state, params=down.broadcast.params)  # what everybody trained from
    context = Context(state.round, seen.params, plan.exchange.up, plan.seed, own)
    trained = plan.canaries.join(clients, cohort, context)
    trained = replace(trained, updates=plan.with_presence(trained.updates, [state.round] * len(cohort)))
    sent, attacks = corrupt(plan, trained.updates, seen, own)
    streams = CodecStreams(plan.seed, state.round, down.shared)
    frames, codec = _encode(plan, state, sent, streams)
    bytes_up = _sizes(frames) + 4 * sent.buffers.shape[1]
    delivery = _deliver(plan, down, trained.updates, bytes_up)
    received, refused = _decode(plan, sent, frames, delivery, streams)
    received = replace(received, context=context)
    clipped, privacy = plan.privacy.clip(received, state.privacy)
    summed, privacy = _secure_sum(plan, clipped, state, privacy)
    begin = perf_counter()
    decision = decide(plan, summed, state.pre_aggregations, state.defense)
    aggregation_seconds = perf_counter() - begin
    reception = Reception(
        round=state.round,
        broadcast=down.broadcast,
        shared=down.shared,
        bytes_down=int(down.bytes_of(cohort.tolist()).sum()),
        losses=trained.losses,
        raw_norms=trained.norms,
        honest=trained.updates,
        sent=sent,
        norms=clients.sent_norms if sent.vectors is clients.updates.vectors else row_norms(sent.vectors),
        frames=frames,
        bytes_up=bytes_up,
        delivery=delivery,
        refused=refused,
        received=received,
        verdict=decision.verdict,
        aggregation_seconds=aggregation_seconds,
    )
    after = replace(
        state,
        buffers=_mean_buffers(received.buffers.double().sum(dim=0), len(received), state.buffers),
        attacks=attacks,
        codec=settled(plan.codec, codec, received.client_ids.tolist()),
        privacy=privacy,
        pre_aggregations=decision.pre_aggregations,
        defense=decision.defense,
        **_remembered(state, clients, received.client_ids, root),
    )
    return reception, after


def _to_root(plan: Plan, state: ServerState, broadcast: Broadcast, number: int) -> Broadcast:
    """Return what the server's own training receives, with what it remembers as client ``number``."""
    return replace(broadcast, memory=plan.memory(state.clients, broadcast.params, [number]))


def _remembered(
    state: ServerState, trained: Trained, received: Tensor, root: Trained | None
) -> dict[str, Any]:
    """Return the memory of the clients: new rows for those whose messages were counted, and for the server.

    A message is counted that came in time, decoded and was finite; what a defense thinks of it is no receipt.
    """
    if trained.memory.shape[1] == 0:
        return {}
    known = torch.isin(trained.updates.client_ids, received)
    ids = trained.updates.client_ids[known].tolist()
    rows = trained.memory if len(ids) == len(trained.memory) else trained.memory[known]
    if root is not None:
        ids, rows = [*ids, *root.updates.client_ids.tolist()], torch.cat([rows, root.memory])
    counted = {**state.counted, **dict.fromkeys(ids, state.round)}
    return {"clients": with_rows(state.clients, ids, rows), "counted": counted}


def _receive_sum(
    plan: Plan, state: ServerState, pool: ClientPool, down: Downlink, cohort: Array
) -> tuple[Reception, ServerState]:
    """Let the workers add up what honest clients send: the same round where nobody needs single updates."""
    summed = pool.train_sum(down.broadcast, cohort)
    ids, examples, finite = summed.client_ids, summed.num_examples, summed.finite
    sent = Updates(torch.empty(len(ids), 0), ids, examples, plan.sampling.expected_size)
    bytes_up = np.full(
        len(ids), max_frame(plan.codec, plan.exchange.up) + 4 * len(state.buffers), dtype=np.int64
    )
    defense = cast(LinearDefense, plan.defense)
    begin = perf_counter()
    counts = defense.counts(examples[finite])
    denominator = defense.denominator(counts, plan.sampling.expected_size)
    aggregate = (summed.total / denominator).to(state.params.dtype)
    reception = Reception(
        round=state.round,
        broadcast=down.broadcast,
        shared=down.shared,
        bytes_down=int(down.bytes_of(cohort.tolist()).sum()),
        losses=summed.losses,
        raw_norms=summed.raw_norms,
        honest=sent,
        sent=sent,
        norms=summed.norms,
        frames=(),
        bytes_up=bytes_up,
        delivery=_deliver(plan, down, sent, bytes_up),
        refused=dict.fromkeys(ids[~finite].tolist(), NON_FINITE),
        received=sent.rows(finite),
        verdict=Verdict(aggregate, counts / denominator),
        aggregation_seconds=perf_counter() - begin,
    )
    return reception, replace(state, buffers=_mean_buffers(summed.buffers, int(finite.sum()), state.buffers))


def _encode(
    plan: Plan, state: ServerState, sent: Updates, streams: CodecStreams
) -> tuple[Sequence[bytes], State]:
    if declared(plan.codec, Codecs.verbatim):
        return VerbatimFrames(plan.codec, sent, plan.exchange.up, plan.public, streams), state.codec
    return encode_cohort(plan.codec, sent, plan.exchange.up, plan.public, state.codec, streams)


def _sizes(frames: Sequence[bytes]) -> Array:
    """Return the length of each frame, in bytes, int64.  # [K]"""
    if isinstance(frames, VerbatimFrames):
        return frames.sizes
    return np.array([len(frame) for frame in frames], dtype=np.int64)


def _deliver(plan: Plan, down: Downlink, honest: Updates, bytes_up: Array) -> Delivery:
    """Send the frames; a client computes on the examples that it has, whatever it claims."""
    chance = generator(plan.seed, "network", down.broadcast.round)
    received = down.size if plan.levels is None else down.bytes_of(honest.client_ids.tolist())
    return plan.network.deliver(honest.num_examples.numpy(), received, bytes_up, chance)


def _decode(
    plan: Plan, sent: Updates, frames: Sequence[bytes], delivery: Delivery, streams: CodecStreams
) -> tuple[Updates, dict[int, tuple[str, str]]]:
    """Decode what arrived. A frame that does not decode, or not to finite numbers, is left out and noted."""
    there = torch.from_numpy(np.flatnonzero(delivery.arrived))
    came = sent if len(there) == len(sent) else sent.rows(there)
    refused: dict[int, tuple[str, str]] = {}
    if not isinstance(frames, VerbatimFrames):
        ids, bodies = came.client_ids.tolist(), [frames[row] for row in there.tolist()]
        how = plan.exchange.up, plan.public, streams, came.presence
        vectors, rejects = decode_cohort(plan.codec, bodies, ids, *how)
        refused = {ids[row]: ("undecodable", reason) for row, reason in rejects}
        good = torch.tensor([i not in refused for i in ids], dtype=torch.bool)
        came = (came if not refused else came.rows(good)).with_vectors(vectors)
    finite = finite_rows(came)
    refused |= dict.fromkeys(came.client_ids[~finite].tolist(), NON_FINITE)
    return came if bool(finite.all()) else came.rows(finite), refused


def _secure_sum(plan: Plan, updates: Updates, state: ServerState, privacy: State) -> tuple[Updates, State]:
    """Return the updates as the server sees them: all of them, or under distributed trust their sum."""
    secure_sum = declared(plan.privacy, Mechanisms.secure_sum)
    if secure_sum is None:
        return updates, privacy
    malicious = plan.malicious(state.round)
    honest = torch.tensor([i not in malicious for i in updates.client_ids.tolist()], dtype=torch.bool)
    found: tuple[Updates, State] = secure_sum(
        updates,
        honest,
        privacy,
        generator(plan.seed, "rotation", state.round),
        lambda client_id: generator(plan.noise_seed, "noise share", state.round, client_id),
    )
    return found


def _check(verdict: Verdict, size: int) -> None:
    if verdict.aggregate.shape != (size,):
        raise PluginError(
            f"the defense returned an aggregate of shape {tuple(verdict.aggregate.shape)}, expected ({size},)"
        )
    if not all_finite(verdict.aggregate):
        raise PluginError("the defense returned NaN or infinity from finite updates")


def _mean_buffers(total: Tensor, clients: int, before: Tensor) -> Tensor:
    """Return the plain mean of the clients' buffers; the old ones where nobody came.  # [Q]"""
    return (total / clients).to(before.dtype) if clients and len(before) else before
