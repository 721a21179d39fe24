"""What the server makes of the messages that count in a round, up to the defense's decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ...clients.codecs.parts.between_rounds import settled, stepped_along
from ...clients.codecs.parts.wire import VerbatimFrames, read_cohort
from ...core.client_rows import with_rows
from ...core.contracts import CodecStreams, Delivery, LinearDefense, Verdict
from ...core.declarations import Codecs, Mechanisms, Schedules, declared, name_of
from ...core.errors import PluginError
from ...core.seeds import generator
from ...core.updates import Context, Updates, concatenate, finite_rows
from ...defenses.parts.memory import stored
from ..defending.decision import Decision, combined, decide
from .facts import factored
from .from_now import from_now, without_refused
from .mailbox import Array, Downlink, Mailbox, Messages, joined
from .outcome import Reception
from .replay import noted

if TYPE_CHECKING:
    from ...core.frames import Record
    from ...core.trees import State
    from ..plan import Plan
    from ..state import ServerState
    from .sending import Sent

NON_FINITE = ("non_finite", "the update holds NaN or infinity")
NO_FACT = ("non_finite", "what it states besides is NaN or infinity")


@dataclass(frozen=True)
class Opened:
    """The messages that leave the mailbox in a round.

    Attributes:
        messages: All of them, in ascending client id.
        counted: Which came in time; the others are given up.  # [K]
        downs: What was received in each round in which one of them began, by round.
        at: When the round ends, in virtual seconds since the start of the run.
    """

    messages: Messages
    counted: Array
    downs: Mapping[int, Downlink]
    at: float


def take(plan: Plan, state: ServerState, sent: Sent) -> tuple[ServerState, Opened]:
    """Take out of the mailbox what the schedule counts in the round, and what it gives up."""
    box = state.mailbox or Mailbox()
    traffic = box.traffic(state.round, state.clock, sent.drawn)
    arrivals, schedule = plan.schedule.arrivals(traffic, state.schedule)
    leave = arrivals.counted | arrivals.dropped
    rest, gone = box.taken(leave)
    messages = _with_presence(plan, joined(gone) if gone else nobody(plan, state))
    mask = arrivals.counted[leave][traffic.client_ids[leave].argsort()]
    state = replace(state, mailbox=rest if rest.groups else None, schedule=schedule)
    return state, Opened(messages, mask, box.downs, arrivals.at)


def _with_presence(plan: Plan, messages: Messages) -> Messages:
    """Return the messages with what the server assigned to each client when it began."""
    updates, alike = plan.with_presence(messages.updates), messages.honest is messages.updates
    return replace(
        messages, updates=updates, honest=updates if alike else plan.with_presence(messages.honest)
    )


def nobody(plan: Plan, state: ServerState) -> Messages:
    """Return no message at all, of this run's lengths."""
    ids, none = torch.zeros(0, dtype=torch.int64), np.zeros(0)
    vectors, buffers = torch.zeros(0, plan.exchange.up.num_parameters), torch.zeros(0, len(state.buffers))
    facts = torch.zeros(0, len(plan.exchange.statement), dtype=torch.float64)
    updates = Updates(vectors, ids, ids, plan.sampling.expected_size, buffers, facts=facts)
    losses, norms = torch.zeros(0), torch.zeros(0, dtype=torch.float64)
    memory = torch.zeros(0, plan.exchange.memory.num_parameters)
    sizes = np.zeros(0, dtype=np.int64)
    return Messages(updates, updates, losses, norms, norms, memory, (), sizes, none, none, none, none)


def judge(plan: Plan, state: ServerState, sent: Sent, opened: Opened) -> tuple[ServerState, Reception]:
    """Decode what counts, clip it, and let the defense decide; return also the plug-ins' memories."""
    down, messages = sent.down, opened.messages
    begin = perf_counter()
    records: dict[int, list[Record]] = {}
    received, refused = decode(plan, opened, records)
    decode_seconds = perf_counter() - begin
    received = replace(received, context=_context(plan, state, sent))
    clipped, privacy = plan.privacy.clip(received.with_facts(None), state.privacy)
    summed, privacy = _secure_sum(plan, clipped, state, privacy)
    begin = perf_counter()
    turned = from_now(plan, state, summed, opened.messages.rows(opened.counted).updates, opened.downs)
    weighed = factored(plan, _weighed(plan, turned), received.facts)
    told = weighed.with_facts(received.facts) if plan.exchange.statement else weighed
    decision, optimizer = _decided(plan, told, state)
    verdict = without_refused(decision.verdict, told, received)
    seconds = perf_counter() - begin
    codec = settled(plan.codec, state.codec, received.client_ids.tolist())
    step = stepped_along(plan.codec, codec, verdict.aggregate)
    verbatim = declared(plan.codec, Codecs.verbatim)
    how = plan.codec, messages.updates, plan.exchange.up, plan.public, down.streams(plan.seed)
    reception = Reception(
        round=state.round,
        downs={**opened.downs, state.round: down},
        losses=messages.losses,
        raw_norms=messages.raw_norms,
        honest=messages.honest,
        sent=messages.updates,
        norms=messages.norms,
        frames=VerbatimFrames(*how) if verbatim else messages.frames,
        records=records,
        bytes_up=messages.bytes_up,
        delivery=Delivery(opened.counted, messages.seconds, opened.at - state.clock),
        refused=refused,
        received=received,
        verdict=replace(verdict, aggregate=step),
        sum_row=None if summed is clipped else summed.vectors[0],
        aggregation_seconds=seconds,
        encode_seconds=sent.encode_seconds,
        decode_seconds=decode_seconds,
        begins=messages.begins,
    )
    after = replace(
        state,
        buffers=_mean_buffers(received.buffers.double().sum(dim=0), len(received), state.buffers),
        codec=codec,
        privacy=privacy,
        pre_aggregations=decision.pre_aggregations,
        defense=decision.defense,
        optimizer=optimizer,
        clock=opened.at,
        log=noted(plan, state.log, state.round, received, messages),
        **_remembered(plan, state, messages, received.client_ids, sent),
    )
    return after, reception


def _decided(plan: Plan, updates: Updates, state: ServerState) -> tuple[Decision, State]:
    """Return what the rules, or the algorithm itself, make of a cohort, and its server half's memory."""
    if plan.combines:
        return combined(plan, updates, state)
    return decide(plan, updates, state.pre_aggregations, state.defense), state.optimizer


def _context(plan: Plan, state: ServerState, sent: Sent) -> Context:
    """Return what the rules are told of the round: the parameters are those that its clients received."""
    own, received = sent.root.updates.vectors[0] if sent.root else None, sent.down.broadcast
    return plan.context(state.round, received.params, received.buffers, own)


def decode(
    plan: Plan, opened: Opened, records: dict[int, list[Record]]
) -> tuple[Updates, dict[int, tuple[str, str]]]:
    """Decode what counts. A frame that does not decode, or not to finite numbers, is left out and noted.

    What was read of the others is put into ``records``, by client id.
    """
    messages = opened.messages.rows(opened.counted)
    came, refused = messages.updates, dict[int, tuple[str, str]]()
    if not declared(plan.codec, Codecs.verbatim) and len(messages):
        parts = []
        for round_ in sorted(set(came.started.tolist())):
            group = messages.rows((came.started == round_).numpy())
            parts.append(_decoded(plan, group, opened.downs[round_].streams(plan.seed), refused, records))
        came = concatenate(parts, came.expected_size)
    finite = finite_rows(came)
    stated = came.facts.isfinite().all(dim=1)
    refused |= dict.fromkeys(came.client_ids[~finite].tolist(), NON_FINITE)
    refused |= dict.fromkeys(came.client_ids[~stated].tolist(), NO_FACT)
    return came if bool(finite.all()) else came.rows(finite), refused


def _decoded(
    plan: Plan,
    group: Messages,
    streams: CodecStreams,
    refused: dict[int, tuple[str, str]],
    records: dict[int, list[Record]],
) -> Updates:
    """Return what decodes of one round's messages, and note in ``refused`` what does not."""
    ids = group.updates.client_ids.tolist()
    how = plan.exchange.up, plan.public, streams, group.updates.presence
    found = read_cohort(plan.codec, group.frames, ids, *how)
    bad = {ids[row]: ("undecodable", reason) for row, reason in found.rejected}
    refused |= bad
    records |= zip((i for i in ids if i not in bad), found.records, strict=True)
    good = torch.tensor([i not in bad for i in ids], dtype=torch.bool)
    return (group.updates.rows(good) if bad else group.updates).with_vectors(found.vectors)


def _weighed(plan: Plan, updates: Updates) -> Updates:
    """Return the messages with their updates times what the schedule gives them, by how stale they are.

    What else a message holds (a control variate) is a client's memory told to the server, and counts whole.
    What leaves the range of the numbers stays at its end, so that no client's message ends a run.

    Raises:
        PluginError: A weight is above 1, and the schedule says that none is: a guarantee counts on that.
    """
    weights = declared(plan.schedule, Schedules.weights)
    assert updates.context is not None
    if weights is None:
        return updates
    staleness = updates.context.round - updates.started  # [K]
    factors = weights(staleness, updates.num_examples).to(updates.vectors.dtype)  # [K]
    if declared(plan.schedule, Schedules.bounded) and bool((factors > 1).any()):
        raise PluginError(
            f"schedule {name_of(plan.schedule)} declares that its weights are bounded by 1, and gives a "
            f"message {float(factors.max()):.6g}"
        )
    if bool((factors == 1).all()):
        return updates
    vectors = plan.exchange.with_update_times(updates.vectors, factors[:, None])
    most = torch.finfo(vectors.dtype).max
    return updates.with_vectors(vectors.clamp(-most, most))


def _remembered(
    plan: Plan, state: ServerState, messages: Messages, received: Tensor, sent: Sent
) -> dict[str, Any]:
    """Return the memory of the clients: new rows for those whose messages were counted, and for the server.

    A message is counted that came in time, decoded and was finite; what a defense thinks of it is no receipt.
    """
    if messages.memory.shape[1] == 0:
        return {}
    own = messages.updates.client_ids
    known = torch.isin(own, received) & (own < plan.canaries.first)
    ids, rows = own[known].tolist(), messages.memory if bool(known.all()) else messages.memory[known]
    if sent.root is not None:
        ids = [*ids, *sent.root.updates.client_ids.tolist()]
        rows = torch.cat([rows, sent.root.memory])
    counted = {**state.counted, **dict.fromkeys(ids, state.round)}
    return {"clients": with_rows(state.clients, ids, rows), "counted": counted}


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


def count(plan: Plan, state: ServerState, sent: Sent) -> tuple[ServerState, Reception]:
    """Make the aggregate of the sum that the workers formed: the same round without single updates."""
    assert sent.total is not None
    summed, down = sent.total.summed, sent.down
    ids, examples, finite = summed.client_ids, summed.num_examples, summed.finite
    started = torch.full((len(ids),), state.round)
    updates = Updates(torch.empty(len(ids), 0), ids, examples, plan.sampling.expected_size, started=started)
    defense = cast(LinearDefense, plan.defense)
    begin = perf_counter()
    received = updates.rows(finite)
    counts = defense.counts(received.num_examples)
    denominator = defense.denominator(counts, plan.sampling.expected_size)
    aggregate = stored(summed.total / denominator, state.params.dtype)
    reception = Reception(
        round=state.round,
        downs={state.round: down},
        losses=summed.losses,
        raw_norms=summed.raw_norms,
        honest=updates,
        sent=updates,
        norms=summed.norms,
        frames=(),
        bytes_up=sent.total.bytes_up,
        delivery=sent.total.delivery,
        refused=dict.fromkeys(ids[~finite].tolist(), NON_FINITE) if len(received) < len(ids) else {},
        received=received,
        verdict=Verdict(aggregate, counts / denominator),
        sum_row=None,
        aggregation_seconds=perf_counter() - begin,
    )
    buffers = _mean_buffers(summed.buffers, int(finite.sum()), state.buffers)
    clock = state.clock + sent.total.delivery.round_seconds
    return replace(state, buffers=buffers, clock=clock), reception


def _mean_buffers(total: Tensor, clients: int, before: Tensor) -> Tensor:
    """Return the plain mean of the clients' buffers; the old ones where nobody came.  # [Q]"""
    return (total / clients).to(before.dtype) if clients and len(before) else before
