"""What privacy mechanisms, their clippings and their audits may declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .declaration import Declaration, Table, count, declared, flag, method, number, one_of, word, words

if TYPE_CHECKING:
    from ..contracts.privacy import Privacy, PublicFacts
    from ..updates import Updates

Array = np.ndarray[Any, Any]
UNITS = ("client", "example", "cell", "none")
TRUST_MODELS = ("central", "local", "distributed", "none")
RELATIONS = ("add_remove", "zero_out", "replace_one", "none")


class Mechanisms(Table):
    """What a privacy mechanism may say of itself. Every one says its unit, trust model and relation."""

    unit = one_of(UNITS, "none", "What it protects.")
    trust_model = one_of(TRUST_MODELS, "none", "Whom that takes for honest.")
    relation = one_of(RELATIONS, "none", "How neighbours differ.")
    clip_norm: Declaration[float | None] = number(None, "C, in the first round where it moves.")
    initial_clip_norm: Declaration[float | None] = number(None, "C of the first round, under that name.")
    clipped_at: Declaration[Callable[[Any], float] | None] = method(
        "(state) -> float", "The C of the round that led to `state`; by default `clip_norm`."
    )
    settled = flag("`clip` changes neither what `privatize` let out nor the state.").of("privatize", "clip")
    row_factors: Declaration[Callable[[Tensor], Tensor | None] | None] = method(
        "(norms) -> Tensor | None",
        "All that `privatize` multiplies updates by, from their L2 norms, float64 [K]; None: it does more.",
    ).of("privatize")
    server_clips_alone = flag("Honest clients send their update unclipped.")
    statistic_multiplier: Declaration[Callable[[float], float | None] | None] = method(
        "(expected_size) -> float | None",
        "Noise over sensitivity of a statistic that is released and charged with the aggregate.",
    )
    norm = count(2, "In which norm `clip_norm` bounds an update; with 1, only linear defenses prove a thing.")
    public = words("What neighbours have in common because everybody knows it: `num_examples`, or nothing.")
    noise_law = word("gaussian", "`Release.noise` of its releases, for what is refused beforehand.")
    min_separation = count(1, "How many rounds apart two rounds of one client must be at least.")
    max_participations: Declaration[int | None] = number(
        None, "In how many rounds one client may take part at most."
    )
    perturb: Declaration[Callable[[Array, np.random.Generator], Array] | None] = method(
        "(records, generator) -> records",
        "It noises the records that examples are cut from, once, and nothing afterwards; unit `cell`.",
    )
    sensitivity = number(1.0, "By how much, in L2 norm, one person moves the records that `perturb` noises.")
    mixings: Declaration[Callable[[int], Iterable[tuple[float, ...]]] | None] = method(
        "(rounds) -> tuples",
        "The `Release.mixing` of every round, for noise that hangs together over rounds.",
    )
    secure_sum: Declaration[Callable[..., tuple[Updates, Any]] | None] = method(
        "(updates, honest, state, public, streams) -> (Updates, state)",
        "What an ideal secure aggregation hands over instead of `updates`: one row. `honest` [K] tells who "
        "adds noise; `public` is a stream that everybody shares.",
    )
    sum_only = flag(
        "An ideal secure aggregation without noise: of the messages the server sees the sum alone that its "
        "linear defense divides."
    )
    least_shares: Declaration[Callable[[float], int] | None] = method(
        "(expected_size) -> int", "How many honest clients' noise it counts on, under distributed trust."
    )
    max_dropouts = count(0, "How many of those may be missing.")
    algorithms = words(
        "The algorithms that it goes with, by name; one from outside by its class's; none: any."
    )
    batches: Declaration[str | None] = word(None, "How a local step's examples are drawn, for the tables.")
    epsilon: Declaration[float | None] = number(None, "What the run may cost, instead of a noise multiplier.")
    delta: Declaration[float | None] = number(None, "The probability that epsilon may fail.")
    noise_multiplier: Declaration[float | None] = number(None, "Noise over `clip_norm` (z).")
    weigh: Declaration[Callable[[Tensor, Sequence[int]], Tensor] | None] = method(
        "(squares, sizes) -> Tensor", "As `ExamplePrivacy`: it bounds single examples in every local step."
    )
    poisson = flag("A local step's batch is a Poisson sample of the client's examples.")
    step_noise_std = number(0.0, "The standard deviation of the noise on a local step's sum.")


class Clippings(Table):
    """What a clipping may say of itself."""

    on_clients = flag("It takes no more than an update and a constant C: honest clients apply it.")
    factors: Declaration[Callable[[Tensor, Sequence[int], float], Tensor] | None] = method(
        "(squares, sizes, clip_norm) -> Tensor", "As `weigh`: single examples' gradients can be clipped, too."
    ).of("shorten")
    adaptive = flag("C moves after every round, by one statistic that is noised and charged.")
    statistic: Declaration[Callable[[Tensor, PublicFacts], Tensor] | None] = method(
        "(norms, facts) -> Tensor", "What each client counts, between 0 and 1, float64 [K]; if adaptive."
    )
    move: Declaration[Callable[[float, PublicFacts], float] | None] = method(
        "(mean, facts) -> float", "The next C, from the statistic's noised mean; if adaptive."
    )
    count_noise_std: Declaration[float | None] = number(
        None, "The noise on the statistic's sum, in clients; 0 proves nothing."
    )


class Audits(Table):
    """What an audit says of itself. Every one says all of it."""

    num_canaries = count(0, "How many made-up clients there are.")
    num_unseen = count(0, "How many more directions belong to nobody.")
    statistic = one_of(("final", "max"), "final", "With what of the released a canary is compared.")
    delta: Declaration[float | None] = number(None, "The audit's own; None for that of the mechanism.")


def shows_sums_alone(mechanism: object) -> bool:
    """Return whether the server sees no single message under a mechanism, or a class of them."""
    sums = declared(mechanism, Mechanisms.sum_only)
    return sums or declared(mechanism, Mechanisms.trust_model) == "distributed"


def works_in_steps(mechanism: object) -> bool:
    """Return whether a mechanism, or a class of them, is an ``ExamplePrivacy``."""
    return declared(mechanism, Mechanisms.weigh) is not None


def clipped_at(mechanism: Privacy, state: Any) -> float | None:
    """Return the clip norm of the round that led to ``state``; None where nothing is clipped."""
    found = declared(mechanism, Mechanisms.clipped_at)
    return declared(mechanism, Mechanisms.clip_norm) if found is None else found(state)
