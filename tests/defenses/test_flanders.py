"""Oracles: hand cases; clients that go on as they went are foretold, and one that turns is not."""

import numpy as np
import pytest
import torch

from gauntlet.core.trees import equal
from gauntlet.defenses.flanders import FLANDERS

STEADY = np.random.default_rng(5).normal(size=(8, 12))


def play(defense, cohorts):
    state, verdicts = defense.init(), []
    for updates in cohorts:
        verdict, state = defense.aggregate(updates, state)
        verdicts.append(verdict)
    return verdicts, state


def turned(rows, client):
    rows = rows.copy()
    rows[client] *= -1
    return rows


def test_a_client_that_turns_is_left_out_as_long_as_it_does(cohort):
    """Its history is repaired with the aggregate, so that the lie does not become what is expected."""
    rounds = [STEADY] * 4 + [turned(STEADY, 2)] * 3
    verdicts, state = play(FLANDERS(1), map(cohort, rounds))
    assert [set(v.flags) for v in verdicts[4:]] == [{25}] * 3
    assert all(v.weights[2] == 0 for v in verdicts[4:])
    np.testing.assert_allclose(state[25][-1], verdicts[-1].aggregate)
    np.testing.assert_allclose(state[5][-1], STEADY[0])


def test_after_a_past_that_stood_still_the_farthest_is_left_out(cohort):
    """Two rounds of zeros have no range to scale by: the forecast is 0, and scores are squared lengths."""
    rows = np.zeros((5, 3))
    after = np.array([[5.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    verdicts, _ = play(FLANDERS(1), map(cohort, (rows, rows, after)))
    assert set(verdicts[-1].flags) == {5}
    assert list(verdicts[-1].scores.values()) == [25.0, 1.0, 1.0, 1.0, 2.0]


def test_nobody_is_judged_before_the_third_round(cohort):
    verdicts, _ = play(FLANDERS(2), [cohort(STEADY)] * 3)
    assert [len(v.flags) for v in verdicts] == [0, 0, 2]
    assert [len(v.scores) for v in verdicts] == [0, 0, 8]


def test_a_client_is_forecast_from_its_own_last_updates_however_long_ago(cohort):
    """Client 75 stays away for two rounds; absent, its history is untouched; back, it is judged."""
    here, away = cohort(STEADY), cohort(STEADY).rows(torch.arange(7))
    _, before = play(FLANDERS(0), [here] * 3)
    verdicts, after = play(FLANDERS(0), [here] * 3 + [away] * 2)
    assert equal(after[75], before[75])
    assert 75 not in verdicts[-1].scores
    again, _ = FLANDERS(0).aggregate(here, after)
    assert 75 in again.scores


def test_a_newcomer_has_no_score_and_stays(cohort):
    few, all_ = cohort(STEADY).rows(torch.arange(7)), cohort(STEADY)
    verdicts, _ = play(FLANDERS(3), [few] * 3 + [all_])
    assert 75 not in verdicts[-1].scores
    assert 75 not in verdicts[-1].flags
    assert len(verdicts[-1].flags) == 3


@pytest.mark.parametrize(("b", "left_out"), [(0, 0), (1, 0), (2, 1), (4, 1), (5, 2), (8, 3), (11, 4)])
def test_among_newcomers_only_a_share_of_the_known_is_left_out(cohort, b, left_out):
    """By hand: four of twelve have a forecast: b / 3 of them, rounded; the one that turned goes first."""
    rows = np.random.default_rng(6).normal(size=(12, 12))
    known, everybody = cohort(rows).rows(torch.arange(4)), cohort(turned(rows, 2))
    _, state = play(FLANDERS(0), [known] * 4)
    verdict, _ = FLANDERS(b).aggregate(everybody, state)
    assert set(verdict.scores) == {5, 15, 25, 35}
    assert len(verdict.flags) == left_out
    assert set(verdict.flags) <= {5, 15, 25, 35}
    assert (25 in verdict.flags) == (left_out > 0)


def test_where_everybody_is_known_so_many_are_left_out_as_it_was_told():
    assert all(FLANDERS(b)._quota(k, k) == b for k in range(1, 40) for b in range(k))


def test_memory_holds_a_window_of_sampled_coordinates_of_the_newest_clients(cohort):
    _, state = play(FLANDERS(1, num_coordinates=5, window=3, max_clients=6), [cohort(STEADY)] * 5)
    assert list(state) == [25, 35, 45, 55, 65, 75]
    assert {tuple(h.shape) for h in state.values()} == {(3, 5)}


def test_the_coordinates_are_those_of_the_seed_in_every_round(cohort, at):
    """Client 5's samples are single coordinates of its update; another seed draws others."""
    defense, updates = FLANDERS(1, num_coordinates=4), cohort(STEADY)
    drawn = [
        tuple(defense.aggregate(at(updates, t, seed=seed), {})[1][5][0].tolist())
        for t, seed in ((0, 0), (1, 0), (0, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) <= set(STEADY[0])


def test_a_small_cohort_is_refused_or_handed_on(cohort):
    updates = cohort([[1.0], [5.0]])
    with pytest.raises(ValueError, match="leaving 2 out needs a cohort above that, got 2"):
        FLANDERS(2).aggregate(updates, {})
    assert FLANDERS(2, on_infeasible="mean").aggregate(updates, {})[0].aggregate.tolist() == [3.0]


@pytest.mark.parametrize(
    "option", ["num_byzantine", "num_coordinates", "window", "max_iterations", "alpha", "beta", "tolerance"]
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be"):
        FLANDERS(**({"num_byzantine": 1} | {option: -1}))
