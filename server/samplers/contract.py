"""What every sampler owes."""

from __future__ import annotations

from collections.abc import Callable
from math import isclose, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.contracts.server import SCHEMES
from ...core.declarations import Samplers, declared
from ...core.registry import require
from ...core.seeds import generator

if TYPE_CHECKING:
    from ...core.contracts import Sampler

NUM_CLIENTS = 60
ROUNDS = 2000


def gives_ascending_ids_of_the_population(sampler: Sampler) -> None:
    """Ids are int64, strictly ascending (so none comes twice), from 0 to N - 1."""
    for t in range(50):
        ids = sampler.sample(NUM_CLIENTS, generator(0, "contract", t))
        require(
            ids.ndim == 1 and ids.dtype == np.int64, f"ids are {ids.dtype} {ids.shape}, expected int64 [K]"
        )
        require(bool((ids[1:] > ids[:-1]).all()), f"ids do not ascend strictly: {ids.tolist()}")
        inside = bool(((ids >= 0) & (ids < NUM_CLIENTS)).all())
        require(inside, f"ids leave 0 to {NUM_CLIENTS - 1}: {ids.tolist()}")


def gives_the_same_cohort_for_the_same_stream(sampler: Sampler) -> None:
    """The cohort follows from the population's size and the stream alone."""
    for t in range(20):
        one, two = (sampler.sample(NUM_CLIENTS, generator(0, "contract", t)) for _ in range(2))
        require(np.array_equal(one, two), f"equal streams gave {one.tolist()} and {two.tolist()}")


def declares_how_it_samples(sampler: Sampler) -> None:
    """The scheme is a known one, the rate a probability, and expected_size = sample_rate * N."""
    s = sampler.sampling(NUM_CLIENTS)
    require(s.scheme in SCHEMES, f"scheme {s.scheme!r} is none of {', '.join(SCHEMES)}")
    require(s.num_clients == NUM_CLIENTS, f"num_clients is {s.num_clients}, expected {NUM_CLIENTS}")
    require(0 < s.sample_rate <= 1, f"sample_rate must be above 0 and at most 1, got {s.sample_rate}")
    fits = isclose(s.expected_size, s.sample_rate * NUM_CLIENTS, rel_tol=1e-12)
    require(fits, f"expected_size {s.expected_size} is not sample_rate * N = {s.sample_rate * NUM_CLIENTS}")


def takes_each_client_at_the_declared_rate(sampler: Sampler) -> None:
    """Over 2000 rounds each client comes sample_rate of the time, within 5 standard deviations.

    Under scheme ``"other"`` rounds may hang together, and nothing is asked.
    """
    s = sampler.sampling(NUM_CLIENTS)
    if s.scheme == "other":
        return
    q = s.sample_rate
    counts = np.zeros(NUM_CLIENTS)
    for t in range(ROUNDS):
        counts[sampler.sample(NUM_CLIENTS, generator(0, "contract", t))] += 1
    off = float(np.abs(counts - ROUNDS * q).max())
    allowed = 5 * sqrt(ROUNDS * q * (1 - q))
    require(off <= allowed, f"a client's count is {off:.0f} from {ROUNDS * q:.0f}, allowed {allowed:.0f}")


def keeps_to_its_scheme(sampler: Sampler) -> None:
    """A fixed cohort has one size, a full one is everybody, a Poisson one varies like a binomial."""
    s = sampler.sampling(NUM_CLIENTS)
    sizes = np.array([len(sampler.sample(NUM_CLIENTS, generator(1, "contract", t))) for t in range(ROUNDS)])
    if s.scheme in ("fixed_size", "full"):
        wrong = sorted(set(sizes.tolist()) - {round(s.expected_size)})
        require(not wrong, f"cohorts of {wrong} clients under scheme {s.scheme!r} of {s.expected_size:g}")
    if s.scheme == "full":
        require(s.sample_rate == 1, f"a full cohort has sample_rate 1, got {s.sample_rate}")
    if s.scheme == "poisson":
        variance = NUM_CLIENTS * s.sample_rate * (1 - s.sample_rate)
        off = abs(float(sizes.var()) - variance)
        allowed = 5 * sqrt((2 * variance**2 + variance) / ROUNDS)  # of a binomial's sample variance
        require(
            off <= allowed, f"cohort sizes have variance {sizes.var():.2f}, a binomial has {variance:.2f}"
        )


def keeps_a_clients_rounds_apart(sampler: Sampler) -> None:
    """No client comes again within ``min_separation`` rounds; under "round_robin" it comes then."""
    s, periodic = sampler.sampling(NUM_CLIENTS), declared(sampler, Samplers.periodic)
    require(s.min_separation >= 1, f"min_separation must be at least 1, got {s.min_separation}")
    if s.min_separation == 1 and s.scheme != "round_robin":
        return
    draw: Any = sampler.sample
    last = np.full(NUM_CLIENTS, -s.min_separation)
    for t in range(4 * s.min_separation):
        stream = generator(2, "contract") if periodic else generator(2, "contract", t)
        ids = draw(NUM_CLIENTS, stream, t) if periodic else draw(NUM_CLIENTS, stream)
        gap = int((t - last[ids]).min(initial=s.min_separation))
        require(gap >= s.min_separation, f"a client came again after {gap} of {s.min_separation} rounds")
        last[ids] = t
    waits = int(4 * s.min_separation - 1 - last.min())
    late = s.scheme == "round_robin" and waits >= s.min_separation
    require(not late, f"a client was left out for more than {s.min_separation} rounds")


CHECKS: tuple[Callable[[Sampler], None], ...] = (
    gives_ascending_ids_of_the_population,
    gives_the_same_cohort_for_the_same_stream,
    declares_how_it_samples,
    takes_each_client_at_the_declared_rate,
    keeps_to_its_scheme,
    keeps_a_clients_rounds_apart,
)
