"""What a round proves of privacy, given all that happens between clipping and noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import TYPE_CHECKING

import torch

from ...core.contracts import Defense, NoGuarantee, Release
from ...core.declarations import (
    Algorithms,
    Codecs,
    Defenses,
    Mechanisms,
    Networks,
    Schedules,
    clipped_at,
    declared,
)
from ...privacy.accounting import amplifies
from ..cohort.sampling import weighs_counts
from .sight import blinded, counts_are_public, exposed

if TYPE_CHECKING:
    from ...core.trees import State
    from ..plan import Plan


def release_of(plan: Plan, privacy: State, round_: int, cohort: Collection[int]) -> Release | NoGuarantee:
    """Return what a round released, or why it guarantees nothing.

    Args:
        plan: The plan of the round.
        privacy: The mechanism's memory after it.
        round_: The round, from 0.
        cohort: The clients that began in it.
    """
    release = _scheduled(plan, _with_memory(plan, _released(plan, privacy)))
    if not isinstance(release, Release):
        return release
    amplified = amplifies(release, plan.sampling)
    if plan.privacy.trust_model == "distributed" and (amplified or release.relation == "add_remove"):
        return NoGuarantee("distributed_shares")  # the size of the noise tells who came
    reason = exposed(plan, round_, cohort, release.relation, amplified)
    reason = reason or _remembered(plan, release, amplified) or _counted(plan) or _told_besides(plan)
    return NoGuarantee(reason) if reason else release


def _with_memory(plan: Plan, release: Release | NoGuarantee) -> Release | NoGuarantee:
    """Return a release of messages that follow from what clients remember of the rounds before.

    Given all releases before, only one client's message follows from that client's data, so that rounds
    compose. What it remembers tells in which rounds it was drawn: the secrecy of the sample counts no more.
    Where a client that stays away gives its place to another one, that one's memory moves as well. Under
    local trust each message is noised by itself; noise on the data comes before anything is remembered, and
    so does noise inside of local steps, but for models of the clients' own, whose steps have none.
    """
    rule = plan.exchange.rule
    remembers = plan.exchange.memory.parameters and not declared(rule, Algorithms.memory_stays)
    if not remembers or not isinstance(release, Release) or release.once:
        return release
    if release.local_steps:
        return release if declared(rule, Algorithms.personal) is None else NoGuarantee("client_memory")
    if plan.privacy.trust_model in ("local", "none"):
        return release
    known = release.noise == "gaussian" and release.mixing is None
    moves = release.relation == "add_remove" and plan.sampling.scheme not in ("poisson", "full")
    return replace(release, amplified=False) if known and not moves else NoGuarantee("client_memory")


def _scheduled(plan: Plan, release: Release | NoGuarantee) -> Release | NoGuarantee:
    """Return a release of messages of which the schedule says when they count.

    Who counts in a round then follows from everybody's delays. As long as these are public, so is who counts;
    given that, and all releases before, a client moves those rounds alone in which it counts, by its own
    message. So rounds compose, without amplification. A client that stays away altogether would let others
    begin in its place: neighbours must differ in what a client sends, not in whether it is there.
    """
    if plan.plain or not isinstance(release, Release) or release.once:
        return release
    if release.relation == "add_remove":
        return NoGuarantee("schedule")
    private = set(declared(plan.network, Networks.timed_by))
    private |= set(plan.link.timed_by) if plan.link else set()
    private -= {"examples"} if counts_are_public(plan) else set()
    private -= {"bytes"} if declared(plan.codec, Codecs.verbatim) else set()
    if private:
        return NoGuarantee("selection")
    weighs = declared(plan.schedule, Schedules.weights) is not None
    if weighs and not declared(plan.schedule, Schedules.bounded) and plan.privacy.trust_model == "central":
        return NoGuarantee("weights")
    linear = declared(plan.defense, Defenses.linear)
    if declared(plan.schedule, Schedules.from_now) and not linear and plan.privacy.trust_model == "central":
        return NoGuarantee("aggregator")  # it bounds what clipped messages do, not these
    return replace(release, amplified=False)


def charged_clients(
    plan: Plan, release: Release | NoGuarantee, began: Sequence[int], cohort: Sequence[int]
) -> Sequence[int]:
    """Return the clients that a round is charged to.

    Args:
        plan: The plan of the round.
        release: What it released.
        began: Who began in it: they are charged where a message is private by itself, whether it counts or
            not, and where all who are drawn begin and count at once.
        cohort: Whose messages left the mailbox in it: else they are.
    """
    each = isinstance(release, Release) and release.local_steps
    return began if plan.plain or each or plan.privacy.trust_model == "local" else sorted(cohort)


def counts_alike(defense: Defense) -> bool:
    """Return whether a defense counts every client the same, however many examples it has."""
    counts = declared(defense, Defenses.counts)
    return counts is not None and len(torch.unique(counts(torch.tensor([1, 3])))) == 1


def _counted(plan: Plan) -> str | None:
    """Return why a client's number of examples tells something under local trust, or None."""
    if plan.privacy.trust_model != "local" or counts_are_public(plan):
        return None
    if plan.pre_aggregations or not counts_alike(plan.defense) or weighs_counts(plan.schedule):
        return "weights"
    return None if _blind(plan) else "selection"


def _blind(plan: Plan) -> bool:
    """Return whether who arrives follows from nobody's data: their number, or the length of messages."""
    limit = declared(plan.network, Networks.gives_up_after)
    by_length = (
        plan.link is not None and bool(plan.link.timed_by) and not declared(plan.codec, Codecs.verbatim)
    )
    return declared(plan.network, Networks.blind) and not (by_length and limit not in (None, inf))


def _told_besides(plan: Plan) -> str | None:
    """Return why what clients send holds more than what is noised, or None.

    Which labels a client holds decides what of a message there is. Facts are neither clipped nor noised, and
    neither is what a data set's inputs were scaled by.
    """
    if plan.fitted_inputs:
        return "fitted_inputs"
    by_labels = plan.levels is not None and plan.levels.labels is not None
    return "extra_release" if by_labels or plan.exchange.statement else None


def _remembered(plan: Plan, release: Release, amplified: bool) -> str | None:
    """Return why what a codec remembers of earlier rounds leaves no guarantee, or None.

    What a client remembers follows from its own rounds alone, and the server clips what it decodes: a client
    moves each round in which it takes part by no more than the clip norm, which composes. What it remembers
    may not be shared with others, stand between single examples and a bound of theirs, or meet an analysis
    that counts on nobody knowing who was drawn.
    """
    if not blinded(plan) or plan.codec.init() is None:
        return None
    composes = plan.privacy.trust_model == "central" and plan.privacy.unit == "client"
    apart = declared(plan.codec, Codecs.share) is None
    composes = composes and release.mixing is None  # noise that hangs together counts on more
    moves = release.relation == "add_remove" and plan.sampling.scheme != "full"  # others' memories, too
    return None if composes and apart and not (amplified or moves) else "client_memory"


def _released(plan: Plan, privacy: State) -> Release | NoGuarantee:
    sensitivity = declared(plan.defense, Defenses.sensitivity)
    clip_norm = clipped_at(plan.privacy, privacy)
    plants = declared(plan.defense, Defenses.prepare) is not None  # what it remembers, it may send down
    linear = declared(plan.defense, Defenses.linear) and not (plan.pre_aggregations or plants)
    trusts_the_server = plan.privacy.trust_model != "local"
    moved = None
    if clip_norm is not None and not isfinite(clip_norm):
        clip_norm = None  # a model that diverged may take its bound along
    if sensitivity is not None and clip_norm is not None and not plan.pre_aggregations:
        remembers = plan.defense.init() is not None  # a client also moves what is remembered of it
        picky = declared(plan.defense, Defenses.least_cohort) > 1  # one less, and there is no aggregate
        if not (remembers or picky or plants):
            moved = sensitivity(clip_norm, plan.sampling.expected_size)
    if declared(plan.privacy, Mechanisms.norm) != 2 and not linear:
        moved = None  # what a defense declares is an L2 norm
    if plan.privacy.unit == "example" and trusts_the_server and not linear:
        moved = None  # what it declares is how far a whole client moves the aggregate
    release = plan.privacy.event(moved, plan.sampling.expected_size, privacy)
    if release == NoGuarantee("aggregator") and linear:
        return NoGuarantee("weights")  # a sum, but of what depends on the clients' data or on who came
    if release == NoGuarantee("no_mechanism"):
        return NoGuarantee(declared(plan.optimizer, Algorithms.unproved))
    if isinstance(release, Release) and trusts_the_server and not _blind(plan):
        return NoGuarantee("selection")  # who arrives in time depends on how much data a client has
    return release
