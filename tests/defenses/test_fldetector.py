"""Oracles: clients on a parabola, whose updates the curvature foretells exactly; hand cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.trees import equal
from gauntlet.defenses.fldetector import FLDetector

CENTRES = np.random.default_rng(4).normal(size=(8, 1))
CURVATURE = 0.3


def honest(params, centres=CENTRES):
    """One gradient step of 0.3 on |w - c|^2 / 2: -0.3 (w - c)."""
    return CURVATURE * (centres - params)


def play(defense, cohort, at, rounds, rows=lambda t, w: honest(w), present=lambda t: range(8)):
    """Run rounds on one coordinate; return the verdicts and the last state."""
    state, params, verdicts = defense.init(), 5.0, []
    for t in range(rounds):
        updates = cohort(rows(t, params)).rows(torch.tensor(list(present(t))))
        verdict, state = defense.aggregate(
            at(updates, t, params=torch.tensor([params], dtype=torch.float64)), state
        )
        params += float(verdict.aggregate)
        verdicts.append(verdict)
    return verdicts, state


def flips(client, start):
    def rows(t, params):  # a little apart: what is foretold to the last bit leaves nothing but rounding
        sent = honest(params) + 1e-3 * np.sin(7 * np.arange(8)[:, None] + 3 * t)
        return np.where(np.arange(8)[:, None] == client, -5.0 * sent, sent) if t >= start else sent

    return rows


def test_honest_updates_on_a_parabola_are_foretold_exactly(cohort, at):
    """The pair of round 1 gives sigma = -0.3, the true curvature: from round 2 on only rounding is left."""
    defense = FLDetector(start_round=0)
    _, state = play(FLDetector(), cohort, at, 4)  # nobody is judged before round 20
    steps, turns = torch.cat(state["steps"]), torch.cat(state["turns"])
    np.testing.assert_allclose(turns / steps, -CURVATURE, atol=1e-9)
    params = state["params"][3] + 1.0
    updates = at(cohort(honest(float(params))), 4, params=params)
    raw = defense._distances(updates, state)
    lie = updates.with_vectors(updates.vectors + torch.eye(8, 1, dtype=torch.float64))
    assert raw.isfinite().all()
    np.testing.assert_allclose(defense._distances(lie, state), [8.0, 0, 0, 0, 0, 0, 0, 0], atol=1e-6)


def test_a_client_that_turns_is_flagged_and_left_out(cohort, at):
    verdicts, _ = play(FLDetector(start_round=2), cohort, at, 8, flips(3, 5))
    assert all(set(v.flags) == {35} for v in verdicts[5:])
    assert all(v.weights[3] == 0 for v in verdicts[5:])
    assert verdicts[5].scores[35] > max(s for i, s in verdicts[5].scores.items() if i != 35)


def test_nothing_is_scored_before_the_start_or_the_first_difference(cohort, at):
    late, _ = play(FLDetector(start_round=4), cohort, at, 6, flips(3, 0))
    assert [bool(v.scores) for v in late] == [False] * 4 + [True] * 2
    early, _ = play(FLDetector(start_round=0), cohort, at, 4)
    assert [bool(v.scores) for v in early] == [False, False, True, True]


def test_a_client_is_foretold_from_when_it_was_last_seen(cohort, at):
    """Client 75 misses rounds 4 to 6, in which the parameters move: foretold all the same, to rounding.

    It wants the mean of what the others want, so that its absence does not look like curvature.
    """
    defense, centres = FLDetector(start_round=0), np.vstack([CENTRES[:7], CENTRES[:7].mean(axis=0)])
    _, state = play(
        FLDetector(),
        cohort,
        at,
        7,
        rows=lambda t, w: honest(w, centres),
        present=lambda t: range(7) if t in (4, 5, 6) else range(8),
    )
    assert sorted(state["params"]) == [3, 6]
    assert abs(float(state["params"][6] - state["params"][3])) > 0.1
    params = state["params"][6] + 2.0
    updates = at(cohort(honest(float(params), centres)), 7, params=params)
    lie = updates.with_vectors(updates.vectors + torch.eye(8, 1, dtype=torch.float64))
    np.testing.assert_allclose(defense._distances(lie, state), [8.0, 0, 0, 0, 0, 0, 0, 0], atol=1e-6)


def test_whoever_stays_away_keeps_what_is_known_of_it(cohort, at):
    defense = FLDetector(start_round=0)
    _, before = play(defense, cohort, at, 4)
    _, after = play(defense, cohort, at, 6, present=lambda t: range(8) if t < 4 else range(7))
    assert equal(after["last"][75], before["last"][75])
    assert not equal(after["last"][5], before["last"][5])


def test_memory_holds_a_window_and_the_newest_clients(cohort, at):
    _, state = play(FLDetector(start_round=0, window=3, max_clients=6), cohort, at, 9)
    assert list(state["last"]) == [25, 35, 45, 55, 65, 75]
    assert {len(past) for _, _, past in state["last"].values()} == {3}
    assert (len(state["steps"]), len(state["turns"]), len(state["params"])) == (3, 3, 1)


def test_the_score_is_the_mean_of_the_last_distances(cohort, at):
    verdicts, state = play(FLDetector(start_round=2, window=2), cohort, at, 7, flips(3, 3))
    last = {i: np.mean(past) for i, (_, _, past) in state["last"].items()}
    assert verdicts[-1].scores == pytest.approx(last, rel=1e-6)


def test_who_alternates_between_the_ends_of_float32_is_scored_and_flagged(cohort, at):
    """By hand: the two are off by 6e38 in every round, nobody else by more than chance."""
    defense, rng = FLDetector(start_round=2), np.random.default_rng(0)
    state, params = defense.init(), torch.zeros(5)
    for t in range(8):
        rows = torch.from_numpy(1.0 + 0.1 * rng.normal(size=(8, 5))).float()
        rows[:2] = 3e38 * (-1) ** t
        verdict, state = defense.aggregate(at(cohort(rows), t, params=params), state)
        params = params + 0.01 * t
    assert set(verdict.flags) == {5, 15}
    assert verdict.aggregate.abs().max() < 2
    assert all(tensor.isfinite().all() for tensor in (*state["steps"], *state["turns"]))


def test_differences_beyond_float32_are_remembered_as_its_largest_number(cohort, at):
    """By hand: from 3e38 to -3e38 it is -6e38."""
    defense, state = FLDetector(start_round=2), FLDetector().init()
    for t in range(2):
        rows = torch.full((5, 1), 3e38 * (-1) ** t)
        _, state = defense.aggregate(at(cohort(rows), t, params=rows[0]), state)
    assert [float(d[0]) for d in (*state["steps"], *state["turns"])] == [-torch.finfo(torch.float32).max] * 2


def test_fewer_than_five_scores_are_not_tested(cohort, at):
    verdicts, _ = play(FLDetector(start_round=2), cohort, at, 8, flips(3, 5), present=lambda t: range(4))
    assert verdicts[-1].scores
    assert not any(v.flags for v in verdicts)


def test_it_says_what_it_lacks(cohort):
    with pytest.raises(ValueError, match="fldetector needs the round and the global parameters"):
        FLDetector().aggregate(cohort(np.eye(2)), FLDetector().init())


def test_an_empty_cohort_changes_nothing(cohort, at):
    defense = FLDetector(start_round=0)
    _, state = play(defense, cohort, at, 3)
    nobody = at(cohort(np.zeros((0, 1))), 3)
    verdict, after = defense.aggregate(replace(nobody, client_ids=torch.zeros(0, dtype=torch.int64)), state)
    assert after is state
    assert verdict.aggregate.tolist() == [0.0]


@pytest.mark.parametrize("option", ["window", "references", "max_clusters", "start_round", "max_clients"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        FLDetector(**{option: -1})
