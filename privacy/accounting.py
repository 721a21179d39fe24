"""The ledger: what the rounds of a run have released so far, and the epsilon that follows.

Source: the sampling schemes and their valid analyses as in ``curves``. Participation without
amplification: Kairouz, McMahan, Song, Thakkar, Thakurta, Xu. Practical and Private (Deep) Learning
Without Sampling or Shuffling. ICML 2021, arXiv:2103.00039.

| sampling | relation | charged as |
|---|---|---|
| poisson | add_remove, zero_out | Poisson-sampled Gaussian z, amplified |
| fixed_size | replace_one | Gaussian z/2 sampled without replacement, or the next line if smaller |
| full | replace_one | Gaussian z/2 in every round in which the busiest client took part, exact |
| fixed_size, full, other | add_remove, zero_out | Gaussian z in every such round, exact |
| any, in view of the sender (``amplified = False``) | any | as in the two lines above |

Any other pair proves nothing (``sampling_mismatch``), and neither does a run that mixes lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from ..core.contracts import NoGuarantee, Release, Sampling
from ..core.trees import State
from .curves import Charge, gaussian_epsilon, pld_epsilon, rdp_epsilon

RELATIONS = ("add_remove", "zero_out", "replace_one")
_GRID = 1e-4  # step of the grid of privacy losses, in units of the epsilon that is refined
_FINEST = 1e-6  # least step of that grid
_REFINED = 1e3  # no epsilon above this is worth refining
_LEAST, _MOST = 1e-6, 1e6  # less noise proves nothing (epsilon 5e11); more is charged as if it were this


@dataclass(frozen=True)
class Epsilon:
    """The privacy spent so far.

    Attributes:
        value: Epsilon, at least 0 and finite; None where no guarantee holds.
        reason: Why there is none: a code such as ``"no_mechanism"``; None where there is one.
        accountant: Which analysis gave the smallest bound: ``"gaussian"`` (exact), ``"rdp"`` or ``"pld"``.
    """

    value: float | None
    reason: str | None
    accountant: str | None


@dataclass(frozen=True)
class Accountant:
    """Charge rounds to a ledger, and say what they cost.

    Attributes:
        delta: The probability that epsilon may fail, between 0 and 1. None where the run has no mechanism
            that names one: then a release proves nothing (``no_delta``).
        num_clients: N, the population.
    """

    delta: float | None
    num_clients: int

    def __post_init__(self) -> None:
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, both excluded, got {self.delta}")
        if self.num_clients < 1:
            raise ValueError(f"num_clients must be at least 1, got {self.num_clients}")

    @property
    def delta_warning(self) -> bool:
        """Whether delta is so large that giving one client away entirely would pass as private."""
        return self.delta is not None and self.delta >= 1 / self.num_clients

    def init(self) -> State:
        """Return the empty ledger."""
        return {
            "rule": None,  # which line of the table every round follows
            "charges": (),  # the rounds, as ``curves.Charge``
            "clients": torch.zeros(0, dtype=torch.int64),  # who took part, unless sampling is Poisson  # [M]
            "precisions": torch.zeros(0, dtype=torch.float64),  # and each one's sum of 1 / s^2  # [M]
            "reason": None,  # the first reason why nothing is proved
        }

    def charge(
        self, event: Release | NoGuarantee, sampling: Sampling, cohort: Sequence[int], state: State
    ) -> State:
        """Return the ledger after one more round.

        Args:
            event: What the round released. A round without guarantee is never forgotten.
            sampling: How the cohort was drawn.
            cohort: Ids of the clients that were drawn, whether their messages counted in the end or not. A
                round in which nobody was drawn is charged too.
            state: The ledger before.
        """
        if state["reason"] is not None:
            return state
        if isinstance(event, NoGuarantee):
            return {**state, "reason": event.reason}
        if self.delta is None or not event.noise_multiplier >= _LEAST:
            return {**state, "reason": "no_delta" if self.delta is None else "no_mechanism"}
        rule, ids = charging_rule(event, sampling), torch.as_tensor(cohort, dtype=torch.int64)  # [K]
        twice = len(torch.unique(ids)) < len(ids)
        if rule is None or twice or state["rule"] not in (None, rule):
            return {**state, "reason": "sampling_mismatch"}
        s = min(event.noise_multiplier, _MOST) / (2 if event.relation == "replace_one" else 1)
        entry = (sampling.scheme, float(s), float(sampling.sample_rate), int(sampling.num_clients))
        state = {**state, "rule": rule, "charges": _with_round(state["charges"], entry)}
        if rule.startswith("poisson"):
            return state
        clients, precisions = _with_cohort(state["clients"], state["precisions"], ids, 1 / s**2)
        return {**state, "clients": clients, "precisions": precisions}

    def epsilon(self, state: State, tight: bool = False) -> Epsilon:
        """Return the privacy spent by the rounds in the ledger: the smallest valid bound.

        Args:
            state: The ledger.
            tight: Also compute privacy loss distributions, for about a second: for the end of a run.
        """
        if state["reason"] is not None:
            return Epsilon(None, state["reason"], None)
        if self.delta is None or state["rule"] is None:
            return Epsilon(0.0, None, "gaussian")  # nothing was released
        bounds = spent(state["rule"], state["charges"], state["precisions"], self.delta, tight)
        accountant = min(bounds, key=lambda name: bounds[name])
        if not isfinite(bounds[accountant]):
            return Epsilon(None, "not_finite", None)
        return Epsilon(max(bounds[accountant], 0.0), None, accountant)


def charging_rule(event: Release, sampling: Sampling) -> str | None:
    """Return the line of the table that a round follows, or None where no analysis is valid."""
    scheme, relation = sampling.scheme, event.relation
    if relation not in RELATIONS:
        return None
    if not event.amplified:
        return f"unamplified {relation}"
    if scheme == "poisson":
        return None if relation == "replace_one" else f"poisson {relation}"
    if relation != "replace_one" or scheme == "full":
        return f"unamplified {relation}"
    return f"fixed_size {relation}" if scheme == "fixed_size" else None


def spent(
    rule: str, charges: Sequence[Charge], precisions: Tensor, delta: float, tight: bool
) -> dict[str, float]:
    """Return the bounds on epsilon that are valid under a rule, by the accountant's name."""
    if not rule.startswith("poisson"):
        busiest = float(precisions.max()) if len(precisions) else 0.0
        bounds = {"gaussian": gaussian_epsilon(busiest, delta)}
        return bounds if rule.startswith("unamplified") else {**bounds, "rdp": rdp_epsilon(charges, delta)}
    every_round = sum(count / s**2 for _, s, _, _, count in charges)
    bounds = {"gaussian": gaussian_epsilon(every_round, delta), "rdp": rdp_epsilon(charges, delta)}
    best = min(bounds.values())
    if tight and best <= _REFINED and any(rate < 1 for _, _, rate, _, _ in charges):
        bounds["pld"] = pld_epsilon(charges, delta, max(_GRID * best, _FINEST))
    return bounds


def _with_round(charges: tuple[Charge, ...], one: tuple[str, float, float, int]) -> tuple[Charge, ...]:
    """Return ``charges`` with one more round like ``one``."""
    counts = {charge[:-1]: charge[-1] for charge in charges}
    counts[one] = counts.get(one, 0) + 1
    return tuple((*key, count) for key, count in counts.items())


def _with_cohort(clients: Tensor, precisions: Tensor, ids: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    """Return the clients so far [M] and what each has spent [M], after ``ids`` spent ``precision``."""
    everyone, place = torch.unique(torch.cat([clients, ids]), return_inverse=True)
    gain = torch.cat([precisions, torch.full((len(ids),), precision, dtype=torch.float64)])
    return everyone, torch.zeros(len(everyone), dtype=torch.float64).index_add_(0, place, gain)
