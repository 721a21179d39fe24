"""Codes over rounds, SR-SGC and M-SGC, by hand: who repeats what, and what is refused."""

import pytest
import torch

from gauntlet.clients.algorithms.m_sgc import MSGC
from gauntlet.clients.algorithms.parts import coded_jobs
from gauntlet.clients.algorithms.sr_sgc import SRSGC
from gauntlet.core.updates import Updates


def updates(ids, length):
    vectors = torch.zeros(len(ids), length)
    return Updates(vectors, torch.tensor(ids), torch.ones(len(ids), dtype=torch.int64))


def test_the_lowest_of_those_that_are_missing_repeat_as_far_as_the_code_does_not_spare_them():
    """B = 1, W = 2, lambda = 5: s = 3, so that of five that are missing the first two repeat."""
    rule, params = SRSGC(burst=1, window=2, most_late=5), torch.zeros(3)
    assert rule.spare == 3
    _, state = rule.combine(updates([0, 2, 3, 5, 7], 8), rule.init(), 10)  # missing: 1, 4, 6, 8, 9
    assert state["again"] == [1, 4]
    _, state = rule.step(params, torch.zeros(3), state, 1.0)
    assert rule.extra(params, state).tolist() == [0.0, 0.0, 0.0, 1.0, 4.0]
    verdict, state = rule.combine(updates(list(range(10)), 8), state, 10)
    assert state["again"] == []  # of job 1 only those who repeated are missing, and the code spares three
    assert [len(job["ids"]) for job in state["jobs"]] == [8]
    assert "0 examples" in verdict.fallback  # all zeros decode, to a sum over nothing


def test_a_model_steps_when_its_job_is_told():
    """T = 1: job 0 is told in round 1, after which model 0 has its turn again."""
    params, state = torch.zeros(2), {"round": 0, "models": None}
    for round_, expected in enumerate([[0.0, 0.0], [0.5, 0.5], [0.5, 0.5], [1.0, 1.0]]):
        told = torch.zeros(2) if round_ == 0 else torch.ones(2)
        params, state = coded_jobs.moved(params, told, state, 0.5, 1)
        assert params.tolist() == expected


def test_only_who_delivered_its_own_parts_goes_on_to_coded_ones():
    """W = 3, B = 1: client 2, who missed round 1, does its second part of job 1 in round 3 alone."""
    rule, counted = MSGC(burst=1, window=3, most_late=1), [[0, 1, 2], [0, 1], [0, 1, 2]]
    state = rule.init()
    for ids in counted:
        verdict, state = rule.combine(updates(ids, 3 * 4), state, 3)
        oldest = state["jobs"][0]
    assert verdict.fallback.startswith("what is decoded is a sum over 0 examples")
    assert oldest["parts"].tolist() == [2, 2, 1]  # of job 1, which began in round 1
    verdict, _ = rule.combine(updates([0, 1], 3 * 4), state, 3)
    assert verdict.fallback.startswith("1 clients did not deliver all parts of their own")


@pytest.mark.parametrize(
    ("rule", "options", "words"),
    [
        (SRSGC, {"burst": 2, "window": 2}, "burst must be at least 1 and below window, got 2 and 2"),
        (SRSGC, {"burst": 2, "window": 4}, "burst must divide window - 1, got 2 and 4"),
        (SRSGC, {"most_late": -1}, "most_late must be at least 0, got -1"),
        (MSGC, {"most_late": 0}, "most_late must be at least 1, got 0"),
        (MSGC, {"lr": -1.0}, "lr must be finite and above 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(rule, options, words):
    with pytest.raises(ValueError, match=words):
        rule(**options)
