"""The noise of DIFF2: one multiplier for gradients at restarts, another for gradient differences.

Source: Murata, Suzuki. DIFF2: Differential Private Optimization via Gradient Differences for Nonconvex
Distributed Learning. ICML 2023. arXiv:2302.03884. The abstract was read; the algorithm is second-hand. From
epsilon to zCDP: Bun, Steinke. Concentrated Differential Privacy. TCC 2016, Proposition 1.3. arXiv:1605.02065
"""

from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, log, sqrt
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release, Sampling
from ..core.seeds import Streams, normal
from ..core.trees import State
from ..core.updates import Updates
from .accounting.calibration import noise_multiplier_for
from .clippings.parts import clip_rows


@dataclass(frozen=True)
class Diff2:
    """Noise what the workers of ``diff2_gd`` or ``diff2_bvr_l_sgd`` send, example by example protected.

    A worker's message is a mean over its n examples of vectors no longer than C, which is c1 at a restart
    and c2 |x_(r-1) - x_(r-2)| else: both x are released, so C is public. One example moves the mean over W
    workers by C / (n W) at most, n being the smallest worker's number of examples, which is public as every
    worker's is (a denominator that stays when an example goes). The trusted server adds noise of z times
    that: z1 at restarts, z2 else. The visits of ``diff2_bvr_l_sgd`` are noised by the worker with its own
    multiplier z3, and charged to the worker that was visited.

    Attributes:
        epsilon: What the whole run of ``diff2_gd`` may cost an example, above 0; or z1 and z2 instead.
        delta: The probability that epsilon may fail, between 0 and 1.
        budget_split: Share of the budget (in zCDP's rho) that goes to restarts, between 0 and 1.
        gradient_multiplier: z1, at least 0. With z2 = 0 too, nothing is noised, and nothing proved.
        difference_multiplier: z2, at least 0.
        conversion: From epsilon to the budget: ``"exact"``, by the curve of the composed Gaussian, or
            ``"zcdp"``, the papers' bound, which spends less than it may.
        relation: What neighbours differ in: an example's vector is 0 (``zero_out``), or ``replace_one``. One
            that is not there at all would change n, which is public.
        rounds: Of the run; filled in. Likewise what the algorithm says:
        c1, c2, restart: See ``diff2_gd``.
        exchanges: Rounds that make one step, 1 or 2.
        inner_multiplier: z3 of ``diff2_bvr_l_sgd``.
    """

    epsilon: float | None = None
    delta: float | None = None
    budget_split: float = 0.5
    gradient_multiplier: float | None = None
    difference_multiplier: float | None = None
    conversion: Literal["exact", "zcdp"] = "exact"
    relation: Literal["zero_out", "replace_one"] = "zero_out"
    rounds: int | None = None
    c1: float | None = None
    c2: float | None = None
    restart: int | None = None
    exchanges: int | None = None
    inner_multiplier: float | None = None

    unit: ClassVar[str] = "example"
    trust_model: ClassVar[str] = "central"
    server_clips_alone: ClassVar[bool] = True
    public: ClassVar[tuple[str, ...]] = ("num_examples",)
    algorithms: ClassVar[tuple[str, ...]] = ("diff2_gd", "diff2_bvr_l_sgd")

    def __post_init__(self) -> None:
        if self.relation not in ("zero_out", "replace_one"):
            raise ValueError(f"relation must be zero_out or replace_one, got {self.relation!r}")
        if not 0 < self.budget_split < 1:
            raise ValueError(f"budget_split must be between 0 and 1, both excluded, got {self.budget_split}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, both excluded, got {self.delta}")
        for name in ("c1", "c2"):
            if (bound := getattr(self, name)) is not None and not 0 < bound < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {bound}")
        given = (self.gradient_multiplier, self.difference_multiplier)
        for z in (*given, self.epsilon, self.inner_multiplier):
            if z is not None and not (isfinite(z) and z >= 0):
                raise ValueError(f"epsilon and multipliers must be finite and at least 0, got {z}")
        by_noise = all(z is not None for z in given) and self.epsilon is None
        if not (by_noise or (self.epsilon and self.delta and given == (None, None))):
            raise ValueError(
                "give epsilon (above 0) and delta, or gradient_multiplier, difference_multiplier and delta"
            )
        if self.delta is None and given != (0.0, 0.0):
            raise ValueError("noise needs a delta to be accounted for")
        if self.epsilon is not None and self.exchanges == 2:
            raise ValueError(
                "how often each worker is visited is not known beforehand, so epsilon cannot be given: give "
                "gradient_multiplier and difference_multiplier, and the algorithm's inner_multiplier"
            )

    @property
    def clip_norm(self) -> float:
        """The bound at restarts."""
        return self.c1 or 1.0

    @cached_property
    def multipliers(self) -> tuple[float, float]:
        """(z1, z2), as given or as the budget allows.

        Raises:
            ValueError: The budget is there, but not how many rounds it is for.
        """
        if self.gradient_multiplier is not None and self.difference_multiplier is not None:
            return self.gradient_multiplier, self.difference_multiplier
        if self.rounds is None or self.restart is None:
            raise ValueError("rounds and restart must be known before a budget is split")
        restarts = -(-self.rounds // self.restart)
        others = self.rounds - restarts
        share = self.budget_split if others else 1.0
        first = share * self._rho / restarts
        second = (1 - share) * self._rho / others if others else first
        return 1 / sqrt(2 * first), 1 / sqrt(2 * second)

    @cached_property
    def _rho(self) -> float:
        """The budget as zCDP's rho: half the sum of 1 / z^2 over the rounds."""
        assert self.epsilon is not None
        assert self.delta is not None
        if self.conversion == "exact":
            one = Sampling("full", 1, 1.0, 1.0)
            return 0.5 / noise_multiplier_for(self.epsilon, self.delta, one, 1, self.relation) ** 2
        room = log(1 / self.delta)
        rho = (sqrt(room + self.epsilon) - sqrt(room)) ** 2
        return rho if self.relation == "zero_out" else rho / 4

    def init(self) -> State:
        """Return the rounds so far, where the last step began, C, and the smallest worker's examples."""
        return {"round": 0, "last": None, "clip_norm": self.clip_norm, "least": 1}

    def clipped_at(self, state: State) -> float:
        """Return C, the bound on an example's vector."""
        return float(state["clip_norm"])

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Leave messages as they are: their examples are clipped already."""
        return updates

    def clip(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Cut messages at C, which honest ones keep to. Raises ``ValueError`` on rows that are not finite."""
        step, visit = divmod(state["round"], self.exchanges or 1)
        if visit:
            return updates, state
        here = None if updates.context is None else updates.context.params
        c = self.clip_norm
        if step % (self.restart or 1) and here is not None and state["last"] is not None:
            c = float(self.c2 or 1.0) * _distance(here, state["last"])
        least = int(updates.num_examples.min().clamp(min=1)) if len(updates) else 1
        vectors = clip_rows(updates.vectors, c) if c > 0 else updates.vectors * 0.0
        return updates.with_vectors(vectors), {**state, "last": here, "clip_norm": c, "least": least}

    def noise(
        self, aggregate: Tensor, expected_size: float, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, State]:
        after, z = {**state, "round": state["round"] + 1}, self._multiplier(state["round"])
        std = 0.0 if z is None else z * state["clip_norm"] / (state["least"] * expected_size)
        if std > 0:
            aggregate = aggregate + normal(generator, len(aggregate), std).to(aggregate.device)
        return aggregate, after

    def event(self, sensitivity: float | None, expected_size: float, state: State) -> Release | NoGuarantee:
        """Charge z1, z2, or the visited worker's own z3."""
        z = self._multiplier(max(state["round"], 1) - 1)
        if z is None:  # the worker noised alone: whatever the server does is post-processing
            inner = self.inner_multiplier or 0.0
            done = Release(inner, self.relation, amplified=False) if inner else NoGuarantee("no_mechanism")
            return done if min(self.multipliers) > 0 else NoGuarantee("no_mechanism")
        if z == 0:
            return NoGuarantee("no_mechanism")
        if not isfinite(state["clip_norm"]):
            return NoGuarantee("not_finite")  # the model diverged, and C with it
        if sensitivity is None or not isfinite(sensitivity):
            return NoGuarantee("aggregator")
        ratio = state["clip_norm"] / expected_size / sensitivity if sensitivity > 0 else 1.0
        return Release(z * ratio, self.relation, amplified=False)

    def _multiplier(self, round_: int) -> float | None:
        """Return the server's z of a round; None in a visit."""
        step, visit = divmod(round_, self.exchanges or 1)
        if visit:
            return None
        return self.multipliers[0 if step % (self.restart or 1) == 0 else 1]


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm())
