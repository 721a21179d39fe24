"""Samplers against exact distributions on small populations, and their cost on large ones."""

import tracemalloc
from collections import Counter
from math import comb, sqrt

import numpy as np
import pytest

from gauntlet.core.contracts import Sampling
from gauntlet.core.seeds import generator
from gauntlet.server.samplers.fixed_size import FixedSize
from gauntlet.server.samplers.full import Full
from gauntlet.server.samplers.poisson import Poisson
from gauntlet.server.samplers.round_robin import RoundRobin

ROUNDS = 20_000


def subsets(sampler, num_clients):
    """Return how often each cohort came."""
    return Counter(
        tuple(sampler.sample(num_clients, generator(0, "sample", t)).tolist()) for t in range(ROUNDS)
    )


def test_poisson_cohorts_have_the_probabilities_of_independent_coins():
    """All 16 subsets of 4 clients at q = 0.3: q^m (1-q)^(4-m), each within 5 standard deviations."""
    found = subsets(Poisson(0.3), 4)
    for subset in range(16):
        cohort = tuple(i for i in range(4) if subset >> i & 1)
        p = 0.3 ** len(cohort) * 0.7 ** (4 - len(cohort))
        assert abs(found[cohort] - ROUNDS * p) < 5 * sqrt(ROUNDS * p * (1 - p))


def test_fixed_size_cohorts_are_equally_likely():
    """All C(5, 2) = 10 pairs, each within 5 standard deviations of a tenth."""
    found = subsets(FixedSize(2), 5)
    assert len(found) == comb(5, 2)
    assert max(abs(count - ROUNDS / 10) for count in found.values()) < 5 * sqrt(ROUNDS * 0.09)


@pytest.mark.parametrize("sampler", [FixedSize(50), Poisson(50 / 1_000_000)], ids=repr)
def test_a_population_of_a_million_costs_no_more_than_its_cohort(sampler):
    """Under 64 KiB, where one byte a client would be a megabyte."""
    sampler.sample(1000, generator(0, "sample"))
    tracemalloc.start()
    cohort = sampler.sample(1_000_000, generator(0, "sample"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 20 < len(cohort) < 90
    assert peak < 64 * 1024


def test_everybody_is_the_whole_population():
    assert Full().sample(4, generator(0, "sample")).tolist() == [0, 1, 2, 3]
    assert Full().sampling(4) == Sampling("full", 4, 1.0, 4.0)


def test_samplers_declare_what_an_accountant_must_know():
    assert FixedSize(10).sampling(40) == Sampling("fixed_size", 40, 0.25, 10.0)
    assert Poisson(0.1).sampling(40) == Sampling("poisson", 40, 0.1, 4.0)


def test_a_cohort_larger_than_the_population_is_refused():
    message = "cohort_size 50 is larger than the population of 40 clients"
    with pytest.raises(ValueError, match=message):
        FixedSize(50).sampling(40)
    with pytest.raises(ValueError, match=message):
        FixedSize(50).sample(40, np.random.default_rng(0))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_a_sample_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match="sample_rate must be above 0 and at most 1"):
        Poisson(rate)


def test_an_empty_fixed_cohort_is_refused():
    with pytest.raises(ValueError, match="cohort_size must be at least 1, got 0"):
        FixedSize(0)


def test_taking_turns_covers_everybody_once_a_period_in_equal_groups():
    sampler = RoundRobin(period=4)
    cohorts = [sampler.sample(10, generator(3, "sample"), t) for t in range(12)]
    assert sorted(np.concatenate(cohorts[:4]).tolist()) == list(range(10))
    assert {len(c) for c in cohorts} == {2, 3}
    for t in range(8):
        assert np.array_equal(cohorts[t], cohorts[t + 4])
    assert sampler.sampling(10) == Sampling("round_robin", 10, 0.25, 2.5, 4)
    assert not np.array_equal(cohorts[0], sampler.sample(10, generator(4, "sample"), 0))


def test_a_period_longer_than_the_population_is_refused():
    with pytest.raises(ValueError, match="period 11 is longer than the population of 10 clients"):
        RoundRobin(period=11).sampling(10)
    with pytest.raises(ValueError, match="period must be at least 1, got 0"):
        RoundRobin(period=0)
