"""One round, in the order in which things happen in the world."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..clients.codecs.wire import decode_cohort, encode_cohort
from ..clients.kernel import Broadcast, Trained
from ..clients.pools.base import ClientPool
from ..core.contracts import Delivery, NoGuarantee, Release, Sampling, Verdict, declared
from ..core.errors import PluginError
from ..core.seeds import generator
from ..core.trees import State
from ..core.updates import Context, Updates
from ..privacy.accounting import Epsilon
from .corruption import corrupt
from .plan import Plan
from .state import ServerState


@dataclass(frozen=True)
class Outcome:
    """What happened in a round, for whoever records it.

    Attributes:
        round: The round, from 0.
        broadcast: What the clients received.
        trained: The cohort after local training, before any lie.
        sent: The cohort's updates as they left the clients' hands.
        frames: From client id to the bytes that it sent.
        delivery: What the network did with them.
        refused: From client id to (status, reason): ``undecodable`` or ``non_finite``.
        received: The clients whose updates reached the defense, and those updates.
        verdict: The defense's decision.
        release: What the privacy mechanism released, or why it guarantees nothing.
        epsilon: The budget spent so far, this round included.
        sampling: How the cohort was sampled.
    """

    round: int
    broadcast: Broadcast
    trained: Trained
    sent: Updates
    frames: Mapping[int, bytes]
    delivery: Delivery
    refused: Mapping[int, tuple[str, str]]
    received: Updates
    verdict: Verdict
    release: Release | NoGuarantee
    epsilon: Epsilon
    sampling: Sampling


def run_round(plan: Plan, state: ServerState, pool: ClientPool) -> tuple[ServerState, Outcome]:
    """Run one round. Equal arguments give equal results, whatever the pool.

    Raises:
        PluginError: A plug-in raised, or returned something of the wrong shape.
        WorkerError: The pool lost its workers for good.
    """
    drawn = plan.sampler.sample(plan.sampling.num_clients, _stream(plan, state, "sample"))
    cohort = plan.canaries.cohort(drawn)
    broadcast = Broadcast(state.round, state.params, state.buffers)
    trained = pool.train(broadcast, plan.canaries.clients(cohort), plan.sampling.expected_size)
    trained = plan.canaries.join(trained, cohort, state.round)
    sent, attacks = corrupt(plan, trained.updates, state)
    frames, codec = encode_cohort(
        plan.codec, sent, plan.layout, state.round, plan.public, state.codec, _streams(plan, state)
    )
    delivery = _deliver(plan, state, sent, frames)
    received, refused = _receive(plan, state, sent, frames, delivery)
    clipped, privacy = plan.privacy.clip(received, state.privacy)
    screened, pre_aggregations = _pre_aggregate(plan, clipped, state)
    verdict, defense = plan.defense.aggregate(screened, state.defense)
    _check(verdict, state.params)
    noisy, privacy = plan.privacy.noise(
        verdict.aggregate, plan.sampling.expected_size, privacy, _stream(plan, state, "noise")
    )
    params, optimizer = plan.optimizer.step(state.params, noisy, state.optimizer)
    release = _release(plan, privacy)
    ledger = plan.accountant.charge(release, plan.sampling, cohort.tolist(), state.ledger)
    after = ServerState(
        round=state.round + 1,
        params=params,
        buffers=_mean_buffers(received, state.buffers),
        attacks=attacks,
        codec=codec,
        privacy=privacy,
        pre_aggregations=pre_aggregations,
        defense=defense,
        optimizer=optimizer,
        ledger=ledger,
        clock=state.clock + delivery.round_seconds,
        bytes_up=state.bytes_up + sum(map(len, frames)) + 4 * sent.buffers.numel(),
        bytes_down=state.bytes_down + plan.bytes_down * len(cohort),
    )
    outcome = Outcome(
        round=state.round,
        broadcast=broadcast,
        trained=trained,
        sent=sent,
        frames=dict(zip(cohort.tolist(), frames, strict=True)),
        delivery=delivery,
        refused=refused,
        received=received,
        verdict=verdict,
        release=release,
        epsilon=plan.accountant.epsilon(ledger),
        sampling=plan.sampling,
    )
    return after, outcome


def _stream(plan: Plan, state: ServerState, purpose: str) -> np.random.Generator:
    return generator(plan.seed, purpose, state.round)


def _streams(plan: Plan, state: ServerState) -> Any:
    return lambda client_id: generator(plan.seed, "codec", state.round, client_id)


def _deliver(plan: Plan, state: ServerState, sent: Updates, frames: list[bytes]) -> Delivery:
    sizes = np.array([len(frame) for frame in frames], dtype=np.int64) + 4 * sent.buffers.shape[1]
    stream = _stream(plan, state, "network")
    return plan.network.deliver(sent.num_examples.numpy(), plan.bytes_down, sizes, stream)


def _receive(
    plan: Plan, state: ServerState, sent: Updates, frames: list[bytes], delivery: Delivery
) -> tuple[Updates, dict[int, tuple[str, str]]]:
    """Decode what arrived. A frame that does not decode, or not to finite numbers, is left out and noted."""
    context = Context(state.round, state.params, plan.layout, plan.seed)
    there = np.flatnonzero(delivery.arrived)
    ids = sent.client_ids[there].tolist()
    came = [frames[row] for row in there]
    vectors, rejects = decode_cohort(plan.codec, came, ids, plan.layout, state.round, plan.public)
    refused = {ids[row]: ("undecodable", reason) for row, reason in rejects}
    good = torch.from_numpy(np.delete(there, [row for row, _ in rejects]))
    decoded = Updates(
        vectors,
        sent.client_ids[good],
        sent.num_examples[good],
        sent.expected_size,
        sent.buffers[good],
        context,
    )
    finite = _finite_rows(decoded)
    for client_id in decoded.client_ids[~finite].tolist():
        refused[client_id] = ("non_finite", "the update holds NaN or infinity")
    return (decoded if bool(finite.all()) else decoded.rows(finite)), refused


def _finite_rows(updates: Updates) -> Tensor:
    """Return whether each row is finite; a sum overflows only where a look at every entry is due.  # [K]"""
    finite = updates.vectors.sum(dim=1).isfinite() & updates.buffers.sum(dim=1).isfinite()
    for row in (~finite).nonzero().flatten().tolist():
        finite[row] = updates.vectors[row].isfinite().all() & updates.buffers[row].isfinite().all()
    return finite


def _pre_aggregate(plan: Plan, updates: Updates, state: ServerState) -> tuple[Updates, tuple[State, ...]]:
    memories = []
    for plugin, memory in zip(plan.pre_aggregations, state.pre_aggregations, strict=True):
        updates, memory = plugin.transform(updates, memory)
        memories.append(memory)
    return updates, tuple(memories)


def _check(verdict: Verdict, params: Tensor) -> None:
    if verdict.aggregate.shape != params.shape:
        raise PluginError(
            f"the defense returned an aggregate of shape {tuple(verdict.aggregate.shape)}, "
            f"expected {tuple(params.shape)}"
        )
    if not bool(verdict.aggregate.isfinite().all()):
        raise PluginError("the defense returned NaN or infinity from finite updates")


def _release(plan: Plan, privacy: State) -> Release | NoGuarantee:
    """Return what the round proves, given everything between clipping and noise."""
    sensitivity = declared(plan.defense, "sensitivity", None)
    clip_norm = declared(plan.privacy, "clip_norm", None)
    moved = None
    if sensitivity is not None and clip_norm is not None and not plan.pre_aggregations:
        moved = sensitivity(clip_norm, plan.sampling.expected_size)
    release = plan.privacy.event(moved, plan.sampling.expected_size, privacy)
    if isinstance(release, Release) and release.amplified and not declared(plan.network, "blind", False):
        return NoGuarantee("selection")  # who arrives in time depends on how much data a client has
    return release


def _mean_buffers(received: Updates, before: Tensor) -> Tensor:
    """Return the plain mean of the clients' buffers; the old ones where nobody came.  # [Q]"""
    if len(received) == 0 or received.buffers.shape[1] == 0:
        return before
    return received.buffers.double().mean(dim=0).to(before.dtype)
