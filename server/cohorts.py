"""Whom a sampler draws for a round."""

from typing import Any

from numpy.typing import NDArray

from ..core.contracts import Sampler, Sampling
from ..core.declarations import Samplers, declared
from ..core.seeds import generator


def sample_cohort(sampler: Sampler, sampling: Sampling, seed: int, round_: int) -> NDArray[Any]:
    """Return a round's clients, ascending: always the same ones."""
    if declared(sampler, Samplers.periodic):
        periodic: Any = sampler
        found: NDArray[Any] = periodic.sample(sampling.num_clients, generator(seed, "sample"), round_)
        return found
    return sampler.sample(sampling.num_clients, generator(seed, "sample", round_))
