"""One round, in the order in which things happen in the world."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from ..clients.codecs.parts.between_rounds import shared_by
from ..core.contracts import Starts, Verdict
from ..core.declarations import Defenses, Schedules, declared
from ..core.errors import PluginError
from ..core.seeds import generator
from ..core.updates import Updates, all_finite
from .cohort.sampling import sample_cohort
from .defending.preparing import prepared
from .guarantee.release import charged_clients, release_of
from .mail.catching_up import with_receipts
from .mail.downlink import send_down
from .mail.facts import step_facts
from .mail.mailbox import Mailbox
from .mail.outcome import Outcome
from .mail.planting import plant
from .mail.receiving import count, judge, take
from .mail.sending import Sent, add_up, post, train_root

if TYPE_CHECKING:
    from torch import Tensor

    from ..clients.pools.base import ClientPool
    from .plan import Plan
    from .state import ServerState


def run_round(plan: Plan, state: ServerState, pool: ClientPool) -> tuple[ServerState, Outcome]:
    """Run one round. Equal arguments give equal results, whatever the pool.

    Raises:
        PluginError: A plug-in raised, or returned something of the wrong shape.
        WorkerError: The pool lost its workers for good.
    """
    plan = plan.at(state.round)
    state, sent = send(plan, state, pool)
    state, outcome = receive(plan, state, sent)
    return state, outcome


def send(plan: Plan, state: ServerState, pool: ClientPool) -> tuple[ServerState, Sent]:
    """Let clients begin, until the schedule lets nobody more begin before the server's next step."""
    drawn = plan.canaries.cohort(sample_cohort(plan.sampler, plan.sampling, plan.seed, state.round))
    state, params = prepared(plan, state)
    state, planted = plant(plan, state, params)
    state, down = send_down(plan, state, planted, drawn.tolist())
    sent = Sent(drawn, down, train_root(plan, state, down), began=drawn[:0])
    if plan.summed:
        return add_up(plan, state, sent, pool)
    state, starts = _starts(plan, state, sent)
    while len(starts.client_ids):
        state, sent = post(plan, state, sent, starts, pool)
        state, starts = _starts(plan, state, sent)
    return state, sent


def receive(plan: Plan, state: ServerState, sent: Sent) -> tuple[ServerState, Outcome]:
    """Take what counts out of the mailbox, make one step of it, and account for it."""
    if sent.total is None:
        state, opened = take(plan, state, sent)
        after, reception = judge(plan, state, sent, opened)
    else:
        after, reception = count(plan, state, sent)
    _check(plan, reception.verdict)
    noisy, privacy = plan.privacy.noise(
        reception.verdict.aggregate,
        plan.sampling.expected_size,
        after.privacy,
        generator(plan.noise_seed, "noise", state.round),
    )
    share = counted_share(plan, reception.received, reception.verdict)
    step = _gained(plan, noisy, share)
    stated = step_facts(plan, reception.received, reception.verdict.weights)
    params, optimizer = plan.moved(state.params, step, after.optimizer, share, stated)
    release = release_of(plan, privacy, state.round, sent.began.tolist())
    charged = charged_clients(plan, release, sent.began.tolist(), reception.sent.client_ids.tolist())
    after = replace(
        after,
        round=state.round + 1,
        params=params,
        down=with_receipts(after.down, reception.received),
        privacy=privacy,
        optimizer=optimizer,
        ledger=plan.accountant.charge(release, plan.sampling, charged, state.ledger),
        bytes_up=state.bytes_up + sent.bytes_up,
        bytes_down=state.bytes_down + sent.bytes_down,
        shared=shared_by(plan.codec, params, step, after.codec),
        attacked=_attacked(plan, state, sent),
    )
    facts = {field.name: getattr(reception, field.name) for field in fields(reception)}
    epsilon = plan.accountant.epsilon(after.ledger)
    return after, Outcome(
        **facts,
        release=release,
        epsilon=epsilon,
        sampling=plan.sampling,
        began=sent.began,
        bytes_sent=sent.bytes_up,
        bytes_received=sent.bytes_down,
        missed=sent.missed,
        link_seconds=sent.link_seconds / len(sent.began) if plan.link and len(sent.began) else None,
        former=None if after.attacked is None else frozenset(after.attacked),
    )


def _starts(plan: Plan, state: ServerState, sent: Sent) -> tuple[ServerState, Starts]:
    """Return who begins next, as the schedule says."""
    traffic = (state.mailbox or Mailbox()).traffic(state.round, state.clock, sent.drawn)
    if not len(traffic.idle):
        return state, Starts(traffic.idle, traffic.now)
    chance = generator(plan.seed, "schedule", state.round, sent.groups)
    starts, schedule = plan.schedule.starts(traffic, state.schedule, chance)
    return replace(state, schedule=schedule), starts


def counted_share(plan: Plan, received: Updates, verdict: Verdict) -> float:
    """Return the part of the population that an aggregate is a mean of; 0 where nobody was counted.

    Where sums are divided by the public, expected size of a cohort, it is that size that counts.
    """
    sensitivity = declared(plan.defense, Defenses.sensitivity)
    if sensitivity is not None and sensitivity(1.0, plan.sampling.expected_size) is not None:
        return plan.sampling.expected_size / plan.sampling.num_clients
    return 0.0 if verdict.fallback else len(received) / plan.sampling.num_clients


def _gained(plan: Plan, aggregate: Tensor, share: float) -> Tensor:
    """Return the noised mean of messages of that part of the population, its update times the gain."""
    gain = declared(plan.schedule, Schedules.gain)
    factor = 1.0 if gain is None else gain(share * plan.sampling.num_clients)
    return aggregate if factor == 1 else plan.exchange.with_update_times(aggregate[None], factor)[0]


def _attacked(plan: Plan, state: ServerState, sent: Sent) -> tuple[int, ...] | None:
    """Return the clients that attacked in a round in which they began, this one included."""
    if state.attacked is None:
        return None
    return tuple(sorted({*state.attacked, *(plan.malicious(state.round) & set(sent.began.tolist()))}))


def _check(plan: Plan, verdict: Verdict) -> None:
    who, size = "the algorithm" if plan.combines else "the defense", plan.step_length
    if verdict.aggregate.shape != (size,):
        raise PluginError(
            f"{who} returned an aggregate of shape {tuple(verdict.aggregate.shape)}, expected ({size},)"
        )
    if not all_finite(verdict.aggregate):
        raise PluginError(f"{who} returned NaN or infinity from finite updates")
