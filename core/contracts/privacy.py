"""What privacy mechanisms, their clipping and their audits owe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from ..seeds import Streams
    from ..trees import State
    from ..updates import Updates


@dataclass(frozen=True)
class Release:
    """One noisy release of a mechanism, as an accountant charges it.

    Attributes:
        noise_multiplier: Noise standard deviation over ``clip_norm`` (z), above 0.
        relation: ``"add_remove"``, ``"zero_out"`` or ``"replace_one"``.
        amplified: Whether the secrecy of the sample may count (False against a server that sees who sends).
        noise: The noise's distribution: ``"gaussian"``, or another that ``privacy.divergences`` knows.
        shape: What that distribution's accountant needs besides; nothing for a Gaussian.
        mixing: Of noise that hangs together over rounds: with which factors the aggregates of the last
            rounds, this round's last, stand in the sum to which fresh noise of this multiplier was added.
            None where every round has its own noise.
        once: It is the release of the data themselves, before the first round: every round names the same
            one, and it is charged once for all.
        local_steps: Whether this is one local step of one client on its own examples, of which a round has as
            many as the accountant is told.
    """

    noise_multiplier: float
    relation: str
    amplified: bool = True
    noise: str = "gaussian"
    shape: tuple[float, ...] = ()
    mixing: tuple[float, ...] | None = None
    once: bool = False
    local_steps: bool = False


@dataclass(frozen=True)
class NoGuarantee:
    """Why a round proves nothing: a code of the privacy table, such as ``"no_mechanism"``."""

    reason: str


class Privacy(Protocol):
    """Bound and noise updates: ``privatize`` on the client, ``clip`` and ``noise`` on the server.

    What it declares: ``core.declarations.Mechanisms``; every one its ``unit``, ``trust_model`` and
    ``relation``. Under local trust a number of examples that is not ``public`` leaves no epsilon where it
    decides what a client weighs, whether it comes in time or what an attack sees.
    A field ``rounds`` or ``num_parameters`` that is None is filled in with the run's.
    """

    unit: ClassVar[str]
    trust_model: ClassVar[str]

    def init(self) -> State: ...

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Return what honest clients let out of the house; runs on the workers, row by row."""

    def clip(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Return what the server lets in: a client may lie about its own clipping."""

    def noise(
        self, aggregate: Tensor, expected_size: float, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, State]:
        """Return the aggregate [P] with the server's noise."""

    def event(self, sensitivity: float | None, expected_size: float, state: State) -> Release | NoGuarantee:
        """Return what this round released, given the defense's sensitivity to one client."""


class ExamplePrivacy(Privacy, Protocol):
    """Bound and noise every local step instead; the ``unit`` is ``"example"``."""

    @property
    def poisson(self) -> bool:
        """Whether a step's batch is a Poisson sample of the client's examples; else passes are shuffled."""

    @property
    def step_noise_std(self) -> float:
        """The standard deviation of the noise on the sum of a step's clipped gradients."""

    def weigh(self, squares: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return what each example's gradient is multiplied by, [L, ...] or [1, ...] for all tensors alike.

        Args:
            squares: The squared L2 norm of every tensor of every example's gradient, finite.  # [L, ...]
            sizes: How many elements those tensors have.
        """


class Clipping(Protocol):
    """Bring updates under a bound C, as a mechanism's ``clipping``.

    What it may declare: ``core.declarations.Clippings``. One that is not ``on_clients`` is applied by the
    server alone, which is trusted with the updates; else the server only cuts what is still above C. With
    ``factors`` single examples' gradients can be clipped with it, too, none to more than ``clip_norm``.
    """

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        """Return new vectors [K, P] of norm at most ``clip_norm``, each a function of its own row alone.

        ``norms`` are the rows' L2 norms in float64 [K]. A row whose norm is not finite stays as it is.
        """


@dataclass(frozen=True)
class PublicFacts:
    """What everybody may know of a round when its clip norm moves.

    Attributes:
        clip_norm: C, that clipped the round.
        noise_multiplier: Standard deviation of the noise on the sum of the updates over C, at least 0.
        num_parameters: P.
        expected_size: The public, expected size of a cohort, m.
        count_noise_std: Standard deviation of the noise on the statistic's sum, in clients, at least 0.
    """

    clip_norm: float
    noise_multiplier: float
    num_parameters: int
    expected_size: float
    count_noise_std: float = 0.0


class AdaptiveClipping(Clipping, Protocol):
    """Move C after every round, by one statistic that is noised and charged. Declares ``adaptive = True``.

    Attributes:
        count_noise_std: Standard deviation of the noise on the statistic's sum over the cohort, in clients;
            None lets the mechanism choose, 0 proves nothing.
    """

    @property
    def count_noise_std(self) -> float | None: ...

    def statistic(self, norms: Tensor, facts: PublicFacts) -> Tensor:
        """Return what each client counts, between 0 and 1, from its own norm alone; float64.  # [K]"""

    def move(self, mean: float, facts: PublicFacts) -> float:
        """Return the next C, finite and above 0, from the statistic's noised mean.

        ``mean`` is an unbiased estimate of the clients' mean share: its noise, and a cohort that is larger or
        smaller than expected, take it below 0 and above 1. A ``move`` that cuts it off there gives the noise
        a mean of its own near either end, which moves C for ever.
        """


@dataclass(frozen=True)
class Audited:
    """What an audit found out about epsilon from one run.

    Attributes:
        epsilon_low: Bound from below, at least 0: the true epsilon is no smaller, with probability
            ``confidence``.
        epsilon_est: Point estimate without a guarantee: about half of all estimates lie above the truth. None
            where the audit makes none.
        confidence: Probability with which the bound holds, between 0 and 1.
        details: Further figures, by name.
    """

    epsilon_low: float
    epsilon_est: float | None
    confidence: float
    details: Mapping[str, float] = field(default_factory=dict)


class Audit(Protocol):
    """Bound from below what a run gives away, by canaries: made-up clients of random directions.

    The engine adds ``num_canaries`` canaries to the population: they count in the sampling and in the
    expected cohort. Those that ``present`` leaves out are sampled like the others and send nothing.
    ``num_unseen`` further directions belong to nobody. A canary's score is the cosine of its direction with
    what was released: with the whole change of the model (``statistic = "final"``), or the largest over the
    rounds' changes (``"max"``). ``delta`` is the audit's own, or None for that of the mechanism.
    """

    @property
    def num_canaries(self) -> int: ...
    @property
    def num_unseen(self) -> int: ...
    @property
    def statistic(self) -> str: ...
    @property
    def delta(self) -> float | None: ...

    def present(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """Return which canaries send anything at all, bool.  # [num_canaries]"""

    def judge(
        self,
        scores: np.ndarray[Any, Any],
        present: np.ndarray[Any, Any],
        dimension: int,
        delta: float,
        generator: np.random.Generator,
    ) -> Audited:
        """Return what follows from the scores.

        Args:
            scores: Of the canaries, then of the unseen directions.  # [num_canaries + num_unseen]
            present: As ``present`` returned it.  # [num_canaries]
            dimension: P.
            delta: Between 0 and 1.
            generator: The audit's own stream.
        """
