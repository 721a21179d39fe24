"""What a round proves of privacy, given all that happens between clipping and noise."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from ..core.contracts import Defense, NoGuarantee, Release
from ..core.declarations import Algorithms, Defenses, Mechanisms, Networks, clipped_at, declared
from ..core.trees import State
from ..privacy.accounting import amplifies
from .sight import blinded, counts_are_public, exposed

if TYPE_CHECKING:
    from .plan import Plan


def release_of(plan: Plan, privacy: State, round_: int, cohort: Collection[int]) -> Release | NoGuarantee:
    """Return what a round released, or why it guarantees nothing.

    Args:
        plan: The plan of the round.
        privacy: The mechanism's memory after it.
        round_: The round, from 0.
        cohort: The clients that were drawn for it.
    """
    release = _released(plan, privacy)
    if not isinstance(release, Release):
        return release
    amplified = amplifies(release, plan.sampling)
    if plan.privacy.trust_model == "distributed" and (amplified or release.relation == "add_remove"):
        return NoGuarantee("distributed_shares")  # the size of the noise tells who came
    reason = exposed(plan, round_, cohort, release.relation, amplified) or _remembered(plan) or _counted(plan)
    return NoGuarantee(reason) if reason else release


def counts_alike(defense: Defense) -> bool:
    """Return whether a defense counts every client the same, however many examples it has."""
    counts = declared(defense, Defenses.counts)
    return counts is not None and len(torch.unique(counts(torch.tensor([1, 3])))) == 1


def _counted(plan: Plan) -> str | None:
    """Return why a client's number of examples tells something under local trust, or None."""
    if plan.privacy.trust_model != "local" or counts_are_public(plan):
        return None
    if plan.pre_aggregations or not counts_alike(plan.defense):
        return "weights"
    return None if declared(plan.network, Networks.blind) else "selection"


def _remembered(plan: Plan) -> str | None:
    """Return why a client's message follows from more than its own data and the broadcast, or None."""
    return "client_memory" if blinded(plan) and plan.codec.init() is not None else None


def _released(plan: Plan, privacy: State) -> Release | NoGuarantee:
    sensitivity = declared(plan.defense, Defenses.sensitivity)
    clip_norm = clipped_at(plan.privacy, privacy)
    linear = declared(plan.defense, Defenses.linear) and not plan.pre_aggregations
    trusts_the_server = plan.privacy.trust_model != "local"
    moved = None
    if sensitivity is not None and clip_norm is not None and not plan.pre_aggregations:
        remembers = plan.defense.init() is not None  # a client also moves what is remembered of it
        picky = declared(plan.defense, Defenses.least_cohort) > 1  # one less, and there is no aggregate
        if not (remembers or picky):
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
    if isinstance(release, Release) and trusts_the_server and not declared(plan.network, Networks.blind):
        return NoGuarantee("selection")  # who arrives in time depends on how much data a client has
    return release
