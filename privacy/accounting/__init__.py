"""The ledger: what the rounds of a run have released so far, and the epsilon that follows.

Source: the sampling schemes and their valid analyses as in ``curves``. Participation without
amplification: Kairouz, McMahan, Song, Thakkar, Thakurta, Xu. Practical and Private (Deep) Learning
Without Sampling or Shuffling. ICML 2021, arXiv:2103.00039.

| sampling | relation | charged as |
|---|---|---|
| poisson | add_remove, zero_out | Poisson-sampled Gaussian z, amplified |
| poisson | replace_one | Poisson-sampled Gaussian between two mixtures, 2C apart, amplified |
| fixed_size | replace_one | Gaussian z/2 sampled without replacement, or the next line if smaller |
| full | replace_one | Gaussian z/2 in every round in which the busiest client took part, exact |
| fixed_size, full, round_robin, other | zero_out | Gaussian z in every such round, exact |
| full | add_remove | Gaussian z in every round, exact |
| any, in view of the sender (``amplified = False``) | any | as in the two lines above |
| any, of data released once (``once``) | any | one Gaussian z (replace_one: z/2), exact |
| local steps on a client's own examples | zero_out | Poisson-sampled Gaussian z a step, the worst client |

Any other pair proves nothing (``sampling_mismatch``), and neither does a run that mixes lines. A client that
is not there (add_remove) gives its place in a cohort of fixed size, or in a turn, to another one, which moves
the aggregate by twice the clip norm, in other rounds than its own, too. Noise that is
not Gaussian follows the lines for Poisson and for ``amplified = False`` with the bounds of ``divergences``.

Noise that hangs together over rounds (``Release.mixing``) adds fresh noise z to a sum of several rounds'
aggregates; a client costs the sum over the releases of (the sum of its factors)^2 / z^2: exact for the
cohorts that were really drawn, if its updates all point one way, and an upper bound otherwise. Source:
Denisov, McMahan, Rush, Smith, Thakurta. Improved Differential Privacy for SGD via Optimal Private Linear
Operators on Adaptive Streams. NeurIPS 2022, arXiv:2202.08312 (Gaussian, also for adaptive updates).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite

import torch
from torch import Tensor

from ...core.contracts import NoGuarantee, Release, Sampling
from ...core.trees import State
from .curves import EXCHANGED, Charge, gaussian_epsilon, pld_epsilon, rdp_epsilon
from .divergences import NOISES, Shape, shaped_epsilons
from .local_steps import worst_epsilon

RELATIONS = ("add_remove", "zero_out", "replace_one")
_GRID = 1e-4  # step of the grid of privacy losses, in units of the epsilon that is refined
_FINEST = 1e-6  # least step of that grid
_REFINED = 1e3  # no epsilon above this is worth refining
_LOCAL = "local steps zero_out"  # the line of the table for a client's own examples
_LEAST, _MOST = 1e-6, 1e6  # less noise proves nothing (epsilon 5e11); more is charged as if it were this


@dataclass(frozen=True)
class Epsilon:
    """The privacy spent so far.

    Attributes:
        value: Epsilon, at least 0 and finite; None where no guarantee holds.
        reason: Why there is none: a code such as ``"no_mechanism"``; None where there is one.
        accountant: Which analysis gave the smallest bound: ``"gaussian"`` (exact), ``"rdp"``, ``"pld"``, or
            ``"pure"`` (epsilons at delta 0, added up).
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
        num_clients: N, the population; of examples, where those or the cells in them are protected.
        local: From client ids to each one's sampling rate and number of local steps in one round [K] each,
            where a mechanism protects examples; what it releases is charged by client.
        max_epsilon: The budget of the run, above 0, or None. A live bound that passes it is worked out
            again, tightly, before it counts as passed.
    """

    delta: float | None
    num_clients: int
    max_epsilon: float | None = None
    local: Callable[[Sequence[int]], tuple[Tensor, Tensor]] | None = None

    def __post_init__(self) -> None:
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, both excluded, got {self.delta}")
        if self.num_clients < 1:
            raise ValueError(f"num_clients must be at least 1, got {self.num_clients}")
        if self.max_epsilon is not None and not (isfinite(self.max_epsilon) and self.max_epsilon > 0):
            raise ValueError(f"max_epsilon must be finite and above 0, got {self.max_epsilon}")

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
            "rates": torch.zeros(0, dtype=torch.float64),  # of their own examples in a local step  # [M]
            "shapes": (),  # the rounds whose noise is not Gaussian, as ``divergences.Shape``
            "drawn": (),  # each round's cohort, while noise hangs together over rounds  # [T] of [K]
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
        if event.once:
            return _with_data(state, event)
        rule, ids = charging_rule(event, sampling), torch.as_tensor(cohort, dtype=torch.int64)  # [K]
        twice = len(torch.unique(ids)) < len(ids)
        if rule is None or twice or state["rule"] not in (None, rule):
            return {**state, "reason": "sampling_mismatch"}
        state = {**state, "rule": rule}
        if event.local_steps:
            return self._with_steps(state, event, cohort)
        if event.noise != "gaussian":
            return _with_shape(state, event, sampling, ids)
        if event.mixing is not None:
            return _with_mixed(state, event, ids)
        s = min(event.noise_multiplier, _MOST) / (2 if event.relation == "replace_one" else 1)
        kind = EXCHANGED if rule == EXCHANGED else sampling.scheme
        entry = (kind, float(s), float(sampling.sample_rate), int(sampling.num_clients))
        state = {**state, "charges": _with_round(state["charges"], entry)}
        if rule.startswith("poisson"):
            return state
        clients, precisions = _with_cohort(state["clients"], state["precisions"], ids, 1 / s**2)
        return {**state, "clients": clients, "precisions": precisions}

    def _with_steps(self, state: State, event: Release, cohort: Sequence[int]) -> State:
        """Return the ledger with one more round of local steps; "precisions" counts each client's."""
        s = float(min(event.noise_multiplier, _MOST))
        if self.local is None or state["charges"] not in ((), (s,)):
            return {**state, "reason": "sampling_mismatch"}
        rates, steps = self.local(cohort)
        ids = torch.as_tensor(cohort, dtype=torch.int64)
        clients, taken = _with_cohort(state["clients"], state["precisions"], ids, steps)
        everyone = torch.zeros(len(clients), dtype=torch.float64)
        everyone[torch.searchsorted(clients, state["clients"])] = state["rates"]
        everyone[torch.searchsorted(clients, ids)] = rates.to(torch.float64)
        return {**state, "charges": (s,), "clients": clients, "precisions": taken, "rates": everyone}

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
        live = self._bound(state, tight)
        if live.value is None or self.max_epsilon is None or tight or live.value <= self.max_epsilon:
            return live
        better = self._bound(state, tight=True)
        if better.value is None or better.value > self.max_epsilon:
            return better
        return replace(better, value=self.max_epsilon)  # not less, so that the column never falls

    def _bound(self, state: State, tight: bool) -> Epsilon:
        assert self.delta is not None
        rule, precisions = state["rule"], state["precisions"]
        if rule == _LOCAL:
            (s,), rates = state["charges"], state["rates"]
            bounds = dict([worst_epsilon(s, rates.numpy(), precisions.numpy(), self.delta, tight)[::-1]])
        elif state["shapes"]:
            busiest = float(precisions.max()) if len(precisions) else 0.0
            every = None if " poisson " in rule else busiest
            bounds = shaped_epsilons(state["shapes"], every, self.delta, tight)
        else:
            bounds = spent(rule, state["charges"], precisions, self.delta, tight)
        accountant = min(bounds, key=lambda name: bounds[name])
        if not isfinite(bounds[accountant]):
            return Epsilon(None, "not_finite", None)
        return Epsilon(max(bounds[accountant], 0.0), None, accountant)


def charging_rule(event: Release, sampling: Sampling) -> str | None:
    """Return the line of the table that a round follows, or None where no analysis is valid."""
    scheme, relation = sampling.scheme, event.relation
    if relation not in RELATIONS:
        return None
    if relation == "add_remove" and scheme not in ("poisson", "full") and not event.once:
        return None  # others come in its place
    if event.local_steps:
        return _LOCAL if relation == "zero_out" and event.noise == "gaussian" else None
    if event.noise != "gaussian":
        return _shaped_rule(event, sampling)
    if event.mixing is not None:
        return None if relation == "replace_one" or event.amplified else f"unamplified {relation}, mixed"
    if not event.amplified:
        return f"unamplified {relation}"
    if scheme == "poisson":
        return f"poisson {relation}"
    if relation != "replace_one" or scheme == "full":
        return f"unamplified {relation}"
    return f"fixed_size {relation}" if scheme == "fixed_size" else None


def amplifies(event: Release, sampling: Sampling) -> bool:
    """Return whether a round is charged less because nobody learns who was drawn for it."""
    rule = charging_rule(event, sampling)
    return rule is not None and "unamplified" not in rule and rule != _LOCAL


def _shaped_rule(event: Release, sampling: Sampling) -> str | None:
    if event.noise not in NOISES or event.mixing is not None:
        return None
    if event.amplified and sampling.scheme == "poisson":
        return None if event.relation == "replace_one" else f"{event.noise} poisson {event.relation}"
    if event.relation == "replace_one" and event.amplified and sampling.scheme != "full":
        return None
    return f"{event.noise} unamplified {event.relation}"


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
        bounds["pld"] = _pld_epsilon(tuple(charges), delta, max(_GRID * best, _FINEST))
    return bounds


@lru_cache(maxsize=32)
def _pld_epsilon(charges: tuple[Charge, ...], delta: float, interval: float) -> float:
    return pld_epsilon(charges, delta, interval)


def _with_data(state: State, event: Release) -> State:
    """Return the ledger with the one release of the data: charged in the first round, and never again."""
    rule = f"unamplified {event.relation}, once"
    precision = 1 / (min(event.noise_multiplier, _MOST) / (2 if event.relation == "replace_one" else 1)) ** 2
    spent_once = torch.tensor([precision], dtype=torch.float64)
    if event.relation not in RELATIONS or event.noise != "gaussian":
        return {**state, "reason": "sampling_mismatch"}
    if state["rule"] is None:
        return {**state, "rule": rule, "clients": torch.zeros(1, dtype=torch.int64), "precisions": spent_once}
    same = state["rule"] == rule and torch.equal(state["precisions"], spent_once)
    return state if same else {**state, "reason": "sampling_mismatch"}


def _with_round(charges: tuple[Charge, ...], one: tuple[str, float, float, int]) -> tuple[Charge, ...]:
    """Return ``charges`` with one more round like ``one``."""
    counts = {charge[:-1]: charge[-1] for charge in charges}
    counts[one] = counts.get(one, 0) + 1
    return tuple((*key, count) for key, count in counts.items())


def _with_cohort(
    clients: Tensor, precisions: Tensor, ids: Tensor, precision: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return the clients so far [M] and what each has spent [M], after ``ids`` spent ``precision``."""
    everyone, place = torch.unique(torch.cat([clients, ids]), return_inverse=True)
    gained = torch.as_tensor(precision, dtype=torch.float64).expand(len(ids))
    gain = torch.cat([precisions, gained])
    return everyone, torch.zeros(len(everyone), dtype=torch.float64).index_add_(0, place, gain)


def _with_shape(state: State, event: Release, sampling: Sampling, ids: Tensor) -> State:
    """Return the ledger with one more round of noise that is not Gaussian; "precisions" counts rounds."""
    shape = tuple(float(x) for x in event.shape)
    counts = {one[:-1]: one[-1] for one in state["shapes"]}
    key = (event.noise, shape, float(sampling.sample_rate))
    counts[key] = counts.get(key, 0) + 1
    shapes: tuple[Shape, ...] = tuple((*one, count) for one, count in counts.items())
    if " poisson " in state["rule"]:
        return {**state, "shapes": shapes}
    clients, precisions = _with_cohort(state["clients"], state["precisions"], ids, 1.0)
    return {**state, "shapes": shapes, "clients": clients, "precisions": precisions}


def _with_mixed(state: State, event: Release, ids: Tensor) -> State:
    """Return the ledger with one more round whose noise hangs together with the rounds before."""
    assert event.mixing is not None
    drawn = (*state["drawn"], ids)
    factors = torch.tensor(event.mixing, dtype=torch.float64).abs()  # the worst case for any signs
    if len(factors) > len(drawn):
        return {**state, "reason": "sampling_mismatch"}  # rounds are missing: nothing is known of them
    recent = drawn[-len(factors) :]
    everyone, place = torch.unique(torch.cat(recent), return_inverse=True)
    weights = factors.repeat_interleave(torch.tensor([len(one) for one in recent]))
    sums = torch.zeros(len(everyone), dtype=torch.float64).index_add_(0, place, weights)  # [M]
    s = min(event.noise_multiplier, _MOST)
    clients, precisions = _with_cohort(state["clients"], state["precisions"], everyone, sums.square() / s**2)
    return {**state, "drawn": drawn, "clients": clients, "precisions": precisions}
