"""What each family of plug-ins owes: one verb each, on values of this floor.

A plug-in is a frozen dataclass whose fields are its options. It inherits nothing: it fits a protocol by
having its members. ``init() -> state`` gives the first memory and the verb returns the next; a state is a
tree as ``core.trees`` describes. All contracts stand here, so that no family needs to import another.

Optional declarations are class attributes, read through ``declared``. A plug-in that is silent gets the
careful answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from .frames import Record
from .layout import Layout
from .observation import Observation, Reconstruction
from .seeds import Streams
from .trees import State
from .updates import Updates

T = TypeVar("T")


def declared(plugin: object, name: str, careful: T) -> T:
    """Return what a plug-in declares under ``name``, or the careful answer if it is silent."""
    value: T = getattr(plugin, name, careful)
    return value


# ---- defenses -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What a defense decides about a cohort.

    Attributes:
        aggregate: The update that the server applies.  # [P]
        weights: Each client's share in the aggregate, or None where coordinates differ (median).  # [K]
        flags: From client id to the kind of misbehaviour seen: ``"malicious"``, or as told apart by the
            defense: ``"sign_flip"``, ``"noise"``, ``"targeted"``, ``"unreliable"``.
        scores: From client id to the defense's own score.
        details: From client id to whatever else the defense has to say about it, by name: counters, cosines,
            distances. Recorded as they are, in a table of their own.
    """

    aggregate: Tensor
    weights: Tensor | None = None
    flags: Mapping[int, str] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    details: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


class Defense(Protocol):
    """Turn a cohort's updates into one aggregate.

    Declares, if it likes (the careful answer in brackets):
        ``linear`` [False]: the aggregate is linear in the updates. With the two methods of
            ``LinearDefense``, workers may form partial sums.
        ``individual`` [True]: it needs single updates, so that secure aggregation is refused.
        ``sensitivity(clip_norm, expected_size) -> float | None`` [None]: by how much, in L2 norm, one
            client more or less moves the aggregate when every update's norm is at most ``clip_norm``.
        ``needs_root`` [False]: it reads ``updates.context.root``, so that a scenario must give the server
            examples of its own.
    """

    def init(self) -> State: ...

    def aggregate(self, updates: Updates, state: State) -> tuple[Verdict, State]: ...


class LinearDefense(Defense, Protocol):
    """A defense whose aggregate is ``sum_k counts_k * update_k / denominator``, both known beforehand."""

    def counts(self, num_examples: Tensor) -> Tensor:
        """Return what each client counts, float64, from the examples that it claims.  # [K] both"""

    def denominator(self, counts: Tensor, expected_size: float) -> float:
        """Return what the sum is divided by, above 0."""


class PreAggregation(Protocol):
    """Change a cohort's updates before the defense sees them."""

    def init(self) -> State: ...

    def transform(self, updates: Updates, state: State) -> tuple[Updates, State]: ...


# ---- attacks --------------------------------------------------------------------------------------------


class Knowledge(Enum):
    """What an attack on updates is allowed to see besides the public broadcast."""

    OWN = "own"
    """Its own honest update only: the engine calls it once for each malicious client."""
    COLLUDERS = "colluders"
    """The honest updates of all clients that run the same attack."""
    OMNISCIENT = "omniscient"
    """Those, and the honest updates of every other client of the cohort."""


@dataclass(frozen=True)
class View:
    """Exactly what an attack's declared knowledge allows, and nothing more.

    Attributes:
        round: The round, from 0.
        params: The broadcast global parameters.  # [P]
        cohort_size: Clients in this cohort, K.
        honest: The honest clients' updates; None unless the attack is omniscient.
        generator: The attack's own stream for this round (and client, with OWN knowledge).
        aggregate: What the server would decide about a cohort: its clipping, pre-aggregations and defense,
            on a copy of their memories, with its own update on its root examples, but with random numbers
            that are not the server's. None unless the attack declares ``knows_defense``.
    """

    round: int
    params: Tensor
    cohort_size: int
    honest: Updates | None
    generator: np.random.Generator
    aggregate: Callable[[Updates], Verdict] | None = None


@dataclass(frozen=True)
class Goal:
    """What an attack wants of the model, on test examples.

    Attributes:
        x: Inputs as the attacker would show them.  # [m, ...]
        truth: Their true labels.  # [m]
        wanted: The labels that the attacker wants for them.  # [m]
    """

    x: Tensor
    truth: Tensor
    wanted: Tensor


class DataAttack(Protocol):
    """Poison a malicious client's examples before it trains on them.

    Declares, if it likes (the careful answer in brackets):
        ``goal(x, y) -> Goal`` [none]: from test examples, those on which success is measured.
        ``part(index, count) -> DataAttack`` [itself]: what the ``index``-th of the ``count`` clients that
            run the attack does, counted in ascending client id, whoever is in the cohort.
        ``honest`` [False]: this is bad luck and no attack: its clients count as honest, of the kind
            ``"unreliable"``.
        ``label_free`` [False]: it leaves ``y`` alone, so that it goes with real-valued targets too.
    """

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return what is trained on: x [m, ...] (features, or pixels in [0, 1]) and y [m], 1 <= m <= n."""


class UpdateAttack(Protocol):
    """Rewrite the malicious clients' honest updates before they are sent.

    Declares, if it likes (the careful answer in brackets):
        ``knows_defense`` [False]: it needs ``View.aggregate``.
        ``steer(gradient, params, received) -> gradient`` [None]: the malicious clients also train
            differently: what a local step descends instead of the loss's gradient, before weight decay and
            the algorithm's own correction. Elementwise, all [..., P], as ``LocalRule.correct``.
    May declare ``goal``, as a data attack may.
    """

    knowledge: ClassVar[Knowledge]

    def init(self) -> State: ...

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        """Return what the malicious clients send instead: same clients, same shape, finite or not."""


class LeakageAttack(Protocol):
    """Rebuild a client's examples from what it really sent.

    Declares ``requires``: names of ``observation.Knowledge`` fields that must not be None.
    """

    def reconstruct(self, observation: Observation, generator: np.random.Generator) -> Reconstruction: ...


class InferenceAttack(Protocol):
    """Score a hypothesis about clients (a label, a membership) from what they really sent."""

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        """Return one row of scores for each observation; higher means more likely."""


# ---- privacy --------------------------------------------------------------------------------------------


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

    Declares ``unit`` ("client", "example", "cell" or "none"), ``trust_model`` ("central", "local",
    "distributed" or "none") and ``relation``; and if it likes (the careful answer in brackets):
        ``clip_norm`` [None]: C, in the first round where it moves.
        ``clipped_at(state) -> float`` [``clip_norm``]: the C that clipped, and scaled the noise of, the
            round that led to ``state``.
        ``settled`` [False]: ``clip`` changes neither what ``privatize`` let out nor the state: then
            workers may sum what honest clients send.
        ``row_factors(norms) -> Tensor | None`` [None]: all that ``privatize`` multiplies each update by, from
            its L2 norm, float64 [K] both; None where it does more. Then workers that sum need no new rows.
        ``server_clips_alone`` [False]: honest clients send their update unclipped.
        ``statistic_multiplier(expected_size) -> float | None`` [None]: noise over sensitivity of a statistic
            that is released and charged together with the aggregate, which then has the more noise.
        ``norm`` [2]: in which norm ``clip_norm`` bounds an update; with 1, only linear defenses
            prove anything.
        ``min_separation`` [1]: how many rounds apart two rounds of one client must be at least.
        ``max_participations`` [None]: in how many rounds one client may take part at most.
        ``perturb(records, generator) -> records`` [None]: it noises the training records that examples are
            cut from, once, and nothing afterwards; unit ``"cell"``.
        ``mixings(rounds)``: the ``Release.mixing`` of every round, for noise that hangs together over rounds.
        ``secure_sum(updates, honest, state, public, streams) -> (Updates of one row, state)``: what an ideal
            secure aggregation hands to the server instead of ``updates``, under distributed trust. ``honest``
            [K] tells who adds noise; ``public`` is a stream that everybody shares.
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


def works_in_steps(mechanism: object) -> bool:
    """Return whether a mechanism, or a class of them, is an ``ExamplePrivacy``."""
    return declared(mechanism, "weigh", None) is not None


def clipped_at(mechanism: Privacy, state: State) -> float | None:
    """Return the clip norm of the round that led to ``state``; None where nothing is clipped."""
    found = declared(mechanism, "clipped_at", None)
    return declared(mechanism, "clip_norm", None) if found is None else found(state)


class Clipping(Protocol):
    """Bring updates under a bound C, as a mechanism's ``clipping``.

    Declares ``on_clients`` [False]: it takes no more than an update and a constant C, so that honest clients
    apply it before they send, and the server only cuts what is still above C. Otherwise the server, which
    is trusted with the updates, applies it alone.
    May have ``factors(squares, sizes, clip_norm) -> Tensor``, as ``ExamplePrivacy.weigh``: then single
    examples' gradients, too, can be clipped with it, none to more than ``clip_norm``.
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
    """

    clip_norm: float
    noise_multiplier: float
    num_parameters: int
    expected_size: float


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
        """Return the next C, finite and above 0, from the statistic's noised mean, between 0 and 1."""


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


# ---- clients --------------------------------------------------------------------------------------------


class Codec(Protocol):
    """Turn updates into bytes and back. ``decode`` uses nothing but its arguments.

    Declares ``unbiased`` [False] (E decode(encode(x)) = x), ``lossless`` [False] (decode(encode(x)) = x, so
    that it may decode to NaN or infinity), ``additive`` [False] (payloads can be summed under secure
    aggregation) and ``verbatim`` [False] (lossless, without state or randomness, every body ``max_body``
    long: then a frame is written only when somebody looks at it).
    """

    codec_id: ClassVar[int]

    def init(self) -> State: ...

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: Streams
    ) -> tuple[list[list[Record]], State]:
        """Return one list of records a client (one record a tensor of the layout), and the state."""

    def decode(self, records: Sequence[Record], layout: Layout) -> Tensor:
        """Return a finite vector [P], or raise ``FrameError``."""

    def max_body(self, numel: int) -> int:
        """Return the longest legal body for a tensor of ``numel`` elements, in bytes."""


_OPTIMIZERS = ("sgd", "adam")
_LOSSES = ("auto", "cross_entropy", "mse", "mae")


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains on its own examples.

    Attributes:
        local_epochs: Passes over the client's data, at least 1. Ignored when ``local_steps`` is given.
        local_steps: Number of SGD steps instead, at least 1, or None.
        batch_size: Examples a step, at least 1; 0 takes all of the client's examples.
        lr: Step size, above 0.
        momentum: Heavy-ball momentum between 0 and 1 (1 excluded), fresh every round.
        weight_decay: L2 penalty added to the gradient, at least 0.
        optimizer: ``"sgd"``, or ``"adam"`` with torch's constants and moments that begin anew every round.
        loss: ``"cross_entropy"`` of labels; ``"mse"`` or ``"mae"`` of real-valued targets; ``"auto"`` is the
            first that goes with the data.
        shuffle: Whether every pass takes the examples in a fresh random order, or all in their own.
    """

    local_epochs: int = 1
    local_steps: int | None = None
    batch_size: int = 32
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    loss: Literal["auto", "cross_entropy", "mse", "mae"] = "auto"
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, least in (("local_epochs", 1), ("batch_size", 0), ("weight_decay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.local_steps is not None and self.local_steps < 1:
            raise ValueError(f"local_steps must be at least 1, got {self.local_steps}")
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        for name, allowed in (("optimizer", _OPTIMIZERS), ("loss", _LOSSES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got '{getattr(self, name)}'")
        if self.optimizer == "adam" and self.momentum:
            raise ValueError(f"momentum must be 0 with adam, which has its own, got {self.momentum}")


class LocalRule(Protocol):
    """What an algorithm changes about local SGD, as pure elementwise tensor functions.

    Declares ``plain`` [False]: ``correct`` returns the gradient as it is.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs."""

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        """Return the direction of one local step; all [..., P], so that clients can be stacked."""


class Visit(Protocol):
    """One client in one round, as a procedure works there.

    Attributes:
        round: The round, from 0.
        client_id: Stable id.
        num_clients: N, the population.
        num_examples: Examples that the client holds, at least 1.
        received: The broadcast parameters, float32; in ``prepare`` the run's initial ones.  # [P]
        extra: What the server sent besides, float32; ``extras`` vectors.  # [E, P]
        memory: What ``prepare`` returned for this client; None in ``prepare`` itself.
    """

    @property
    def round(self) -> int: ...
    @property
    def client_id(self) -> int: ...
    @property
    def num_clients(self) -> int: ...
    @property
    def num_examples(self) -> int: ...
    @property
    def received(self) -> Tensor: ...
    @property
    def extra(self) -> Tensor: ...
    @property
    def memory(self) -> State: ...

    def gradient(self, params: Tensor, rows: np.ndarray[Any, Any] | None = None) -> tuple[Tensor, Tensor]:
        """Return the gradient [P] of the mean loss over examples (all by default), new, and that loss."""

    def example_gradients(self, params: Tensor, rows: np.ndarray[Any, Any]) -> Tensor:
        """Return each example's gradient, for as many rows as memory should hold.  # [B, P]"""

    def stream(self, purpose: str) -> np.random.Generator:
        """Return the client's own stream of this round."""


class LocalProcedure(Protocol):
    """An algorithm that is more than a correction of local SGD: both of its halves, as one plug-in.

    It stands where a local rule stands, with ``work`` in place of ``correct``. ``init`` and ``step`` are the
    server's half, in the place of the server optimiser.

    Declares, if it likes (the careful answer in brackets):
        ``prepare(visit) -> State`` [none]: what a client works out once, from its examples of round 0 and
            the run's seed alone, so that any worker can work it out again.
        ``extras`` [0] and ``extra(params, state) -> Tensor``: how many vectors the server sends besides the
            parameters, and which.  # [E, P]
        ``sampling``, ``sample`` [none]: it is its own sampler (``Sampler``, with ``periodic``).
        ``posterior(state) -> list of Tensor`` [none]: the posterior samples kept so far.  # [P] each
        ``mechanisms`` [("none",)]: the privacy mechanisms that it goes with.
        ``shared`` [()]: options that such a mechanism takes over where it leaves them None.
        ``plain_mean`` [False]: what the server adds up must be the plain mean of the messages.
        ``unproved`` ["no_mechanism"]: why it proves nothing without a mechanism.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs."""

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return what the client sends [P], and its mean loss."""

    def init(self) -> State: ...

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]: ...


class ModelFactory(Protocol):
    """Build a model for inputs of a shape; a plain function will do."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module: ...


# ---- server ---------------------------------------------------------------------------------------------


class ServerOptimizer(Protocol):
    """Apply an aggregate to the global parameters."""

    def init(self) -> State: ...

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class Sampling:
    """How a sampler really samples, as an accountant must know it.

    Attributes:
        scheme: ``"poisson"``, ``"fixed_size"`` (without replacement, fresh each round), ``"full"``,
            ``"round_robin"`` (each client once in ``min_separation`` rounds), or ``"other"``:
            data-independent, but nothing more is known.
        num_clients: N, the population.
        sample_rate: Probability of a client in a round, q.
        expected_size: q * N, the public denominator.
        min_separation: How many rounds apart two rounds of one client are at least; 1 promises nothing.
    """

    scheme: str
    num_clients: int
    sample_rate: float
    expected_size: float
    min_separation: int = 1


class Sampler(Protocol):
    """Choose the cohort of a round.

    Declares ``periodic`` [False]: its cohorts hang together over the rounds, so that ``sample`` gets the same
    stream in every round, and the round as a third argument; and ``sampling_at(num_clients, round)``
    [``sampling``]: how it samples in one round, where rounds differ.
    """

    def sampling(self, num_clients: int) -> Sampling:
        """Return how this sampler samples; raise ``ValueError`` where it cannot (cohort too large)."""

    def sample(self, num_clients: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """Return the cohort's client ids, ascending, int64; possibly none."""


@dataclass(frozen=True)
class Delivery:
    """What the network did to a cohort's messages.

    Attributes:
        arrived: Whether each message arrived in time, bool.  # [K]
        client_seconds: Virtual seconds from broadcast to arrival, float64.  # [K]
        round_seconds: Virtual length of the round.
    """

    arrived: np.ndarray[Any, Any]
    client_seconds: np.ndarray[Any, Any]
    round_seconds: float


class Network(Protocol):
    """Delay and drop messages on a virtual clock: computed, never slept.

    Declares ``blind`` [False]: who arrives does not depend on anybody's data (otherwise who is counted gives
    something away, and central privacy proves nothing); and ``complete`` [False]: every message arrives.
    """

    def deliver(
        self,
        examples: np.ndarray[Any, Any],
        bytes_down: int,
        bytes_up: np.ndarray[Any, Any],
        generator: np.random.Generator,
    ) -> Delivery:
        """Return the fate of K messages, from examples processed [K] and bytes sent [K]."""
