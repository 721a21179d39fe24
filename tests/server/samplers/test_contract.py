"""What every sampler owes, and that one which owes it still is found out."""

from types import SimpleNamespace

import numpy as np
import pytest

from gauntlet.core.contracts import Sampling
from gauntlet.core.errors import PluginError
from gauntlet.server.samplers import SAMPLERS
from gauntlet.server.samplers.contract import CHECKS
from gauntlet.server.samplers.poisson import Poisson

OPTIONS: dict[str, list[dict[str, object]]] = {
    "fixed_size": [{"cohort_size": 1}, {"cohort_size": 20}, {"cohort_size": 60}],
    "round_robin": [{"period": 1}, {"period": 4}, {"period": 60}],
    "poisson": [{"sample_rate": 0.02}, {"sample_rate": 0.5}, {"sample_rate": 1.0}],
}
CASES = [(name, options) for name in SAMPLERS.table for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_sampler(name, options, check):
    check(SAMPLERS.build(name, options))


def sampler(sample, scheme="fixed_size", rate=0.5, expected=None, separation=1):
    def sampling(n):
        return Sampling(scheme, n, rate, rate * n if expected is None else expected, separation)

    return SimpleNamespace(sampling=sampling, sample=sample)


def halves(n, stream):
    return np.sort(stream.choice(n, n // 2, replace=False))


def with_replacement(n, stream):
    return np.sort(stream.choice(n, n // 2))


def unseeded(n, stream):
    return halves(n, np.random.default_rng())


def the_first_half(n, stream):
    return np.arange(n // 2)


def coins(n, stream):
    return np.flatnonzero(stream.random(n) < 0.5)


BROKEN = [
    ("gives_ascending_ids_of_the_population", sampler(with_replacement), "ascend strictly"),
    ("gives_ascending_ids_of_the_population", sampler(lambda n, s: halves(n, s) + 1.0), "float64"),
    ("gives_ascending_ids_of_the_population", sampler(lambda n, s: np.array([n])), "leave 0 to 59"),
    ("gives_the_same_cohort_for_the_same_stream", sampler(unseeded), "equal streams"),
    ("declares_how_it_samples", sampler(halves, scheme="random"), "'random' is none of"),
    ("declares_how_it_samples", sampler(halves, expected=7.0), "expected_size 7.0 is not"),
    ("takes_each_client_at_the_declared_rate", sampler(the_first_half), "a client's count"),
    ("takes_each_client_at_the_declared_rate", sampler(halves, rate=0.4), "a client's count"),
    ("keeps_to_its_scheme", sampler(coins), "under scheme 'fixed_size' of 30"),
    ("keeps_to_its_scheme", sampler(halves, scheme="poisson"), "a binomial has 15.00"),
    ("keeps_to_its_scheme", sampler(halves, scheme="full"), "sample_rate 1"),
    ("keeps_a_clients_rounds_apart", sampler(halves, separation=2), "came again after 1 of 2 rounds"),
    ("keeps_a_clients_rounds_apart", sampler(halves, separation=0), "min_separation must be at least 1"),
    (
        "keeps_a_clients_rounds_apart",
        sampler(lambda n, s: np.array([], dtype=np.int64), scheme="round_robin", separation=2),
        "left out for more than 2 rounds",
    ),
]


@pytest.mark.parametrize(("name", "broken", "complaint"), BROKEN)
def test_a_sampler_that_breaks_a_check_is_found_out(name, broken, complaint):
    check = {c.__name__: c for c in CHECKS}[name]
    check(Poisson(sample_rate=0.5))
    with pytest.raises(PluginError, match=complaint):
        check(broken)


def test_every_check_has_a_sampler_that_breaks_it():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}
