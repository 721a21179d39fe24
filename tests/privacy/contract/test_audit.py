"""Every audit keeps the contract, and every check rejects an audit that is broken on purpose."""

from dataclasses import dataclass
from math import inf

import numpy as np
import pytest

from gauntlet.core.contracts import Audited
from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.privacy import AUDITS
from gauntlet.privacy.audits.one_run import OneRun
from gauntlet.privacy.audits.one_shot_canaries import OneShotCanaries
from gauntlet.privacy.contract.audit import AUDIT_CHECKS


@pytest.mark.parametrize("check", AUDIT_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", AUDITS.table)
def test_every_audit_keeps_the_contract(name, check):
    check(guard(AUDITS.build(name), name))


@pytest.mark.parametrize("check", AUDIT_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "audit",
    [
        OneShotCanaries(num_canaries=40, num_unseen=60, statistic="max"),
        OneShotCanaries(num_canaries=2, delta=1e-3),
        OneRun(num_canaries=301, num_guesses=40, beta=0.01),
    ],
    ids=repr,
)
def test_other_options_keep_the_contract_too(audit, check):
    check(audit)


@dataclass(frozen=True)
class Twin:
    """A right audit, of which each broken twin spoils one thing."""

    num_canaries: int = 30
    num_unseen: int = 0
    statistic: str = "final"
    delta: float | None = None

    def present(self, generator):
        return np.ones(30, dtype=bool)

    def judge(self, scores, present, dimension, delta, generator):
        return OneShotCanaries(30).judge(scores, present, dimension, delta, generator)


@dataclass(frozen=True)
class OddStatistic(Twin):
    statistic: str = "median"


class WholeNumbers(Twin):
    def present(self, generator):
        return np.ones(30)


class Infinite(Twin):
    def judge(self, scores, present, dimension, delta, generator):
        return Audited(inf, None, 0.95)


class Writes(Twin):
    def judge(self, scores, present, dimension, delta, generator):
        scores.sort()
        return Audited(0.0, None, 0.95)


class AlwaysAlarmed(Twin):
    def judge(self, scores, present, dimension, delta, generator):
        return Audited(3.0, None, 0.95)


class Blind(Twin):
    def judge(self, scores, present, dimension, delta, generator):
        return Audited(0.0, None, 0.95)


@pytest.mark.parametrize(
    ("twin", "check"),
    [*zip([OddStatistic, WholeNumbers, Infinite, Writes, AlwaysAlarmed, Blind], AUDIT_CHECKS, strict=True)],
)
def test_a_broken_audit_is_rejected_by_its_check(twin, check):
    check(Twin())
    with pytest.raises(PluginError):
        check(twin())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_canaries": 1}, "num_canaries must be at least 2, got 1"),
        ({"statistic": "max"}, "num_unseen must be at least 2 with statistic 'max', got 0"),
        ({"alpha": 1.0}, "alpha must be between 0 and 1, both excluded, got 1.0"),
        ({"delta": 0.0}, "delta must be between 0 and 1, both excluded, got 0.0"),
    ],
)
def test_options_of_one_shot_canaries_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OneShotCanaries(**options)


@pytest.mark.parametrize("guesses", [3, 0, 102])
def test_a_number_of_guesses_that_is_odd_or_out_of_range_is_refused(guesses):
    with pytest.raises(ValueError, match=f"num_guesses must be even, from 2 to 100, got {guesses}"):
        OneRun(num_canaries=100, num_guesses=guesses)


def test_one_run_counts_right_guesses_among_the_highest_and_the_lowest():
    """Ten canaries, four guesses. Highest: 9 (in), 8 (out); lowest: 0 (out), 1 (in): two are right."""
    present = np.array([0, 1, 0, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    found = OneRun(10, 4).judge(np.arange(10) / 10, present, 100, 1e-5, np.random.default_rng(0))
    assert found.details == {"guesses": 4.0, "correct": 2.0}


def test_one_run_draws_lots_between_equal_scores():
    """All scores 0: no order in which canaries stand may help. 100 guesses, 50 right, sd 5."""
    present = np.arange(100) >= 50
    right = [
        OneRun(100).judge(np.zeros(100), present, 100, 1e-5, np.random.default_rng(s)).details["correct"]
        for s in range(50)
    ]
    assert np.mean(right) == pytest.approx(50, abs=3)
