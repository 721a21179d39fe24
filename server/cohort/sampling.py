"""Whom a sampler draws for a round, and how those who count in one sample the population."""

from typing import Any

from numpy.typing import NDArray

from ...core.contracts import Sampler, Sampling, Schedule
from ...core.declarations import Samplers, Schedules, declared
from ...core.seeds import generator


def sample_cohort(sampler: Sampler, sampling: Sampling, seed: int, round_: int) -> NDArray[Any]:
    """Return a round's clients, ascending: always the same ones."""
    if declared(sampler, Samplers.periodic):
        periodic: Any = sampler
        found: NDArray[Any] = periodic.sample(sampling.num_clients, generator(seed, "sample"), round_)
        return found
    return sampler.sample(sampling.num_clients, generator(seed, "sample", round_))


def counted_sampling(schedule: Schedule, drawn: Sampling) -> Sampling:
    """Return how the clients whose messages count in a round sample the population.

    Where that are not all who are drawn, nothing is known but how many there will be.
    """
    if declared(schedule, Schedules.plain):
        return drawn
    size = declared(schedule, Schedules.size)
    number = drawn.expected_size if size is None else size(drawn.expected_size)
    return Sampling("other", drawn.num_clients, number / drawn.num_clients, number)
