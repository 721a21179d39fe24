"""Stop a run before a round that its privacy budget does not pay for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...core.seeds import generator
from ..cohort.sampling import sample_cohort
from .release import charged_clients, release_of

if TYPE_CHECKING:
    from ...privacy.accounting import Epsilon
    from ..plan import Plan
    from ..state import ServerState


def projected(plan: Plan, state: ServerState) -> Epsilon:
    """Return what the run will have spent after one more round, before anything of it happens.

    The charge is that of the cohort that the sampler will draw: under Poisson sampling it is the same for
    every cohort, and elsewhere who comes is public. Where a schedule decides who counts, everybody is charged
    who may. No update enters it, so that stopping tells nothing.
    """
    plan = plan.at(state.round)
    size = plan.sampling.expected_size
    nothing = torch.zeros(plan.exchange.up.num_parameters)
    stream = generator(plan.seed, "noise", state.round)
    _, ahead = plan.privacy.noise(nothing, size, state.privacy, stream)
    drawn = sample_cohort(plan.sampler, plan.sampling, plan.seed, state.round)
    cohort = plan.canaries.cohort(drawn).tolist()
    release = release_of(plan, ahead, state.round, cohort)
    waiting = [] if state.mailbox is None else state.mailbox.client_ids
    charged = charged_clients(plan, release, cohort, sorted({*cohort, *waiting}))
    ledger = plan.accountant.charge(release, plan.sampling, charged, state.ledger)
    return plan.accountant.epsilon(ledger)


def out_of_budget(plan: Plan, state: ServerState) -> str | None:
    """Return in one line why no further round may run, or None where one may."""
    budget = plan.accountant.max_epsilon
    if budget is None:
        return None
    after = projected(plan, state)
    if after.value is None:
        return f"max_epsilon = {budget:g} cannot be kept: no guarantee holds ({after.reason})"
    if after.value <= budget:
        return None
    return f"one more round would cost epsilon {after.value:.4g} in all, and max_epsilon is {budget:g}"
