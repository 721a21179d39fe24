"""Oracles: the golden values of the robustness spec (section 7), a straight loop over 5.1, hand cases."""

import math

import numpy as np
import pytest
import torch

from gauntlet.defenses.foolsgold import FoolsGold, foolsgold_weights
from gauntlet.defenses.parts.geometry import cosines

GOLDEN_WEIGHTS = ".069732303 0 .069732303 1 0 .525680764 0 0 1 .944737217 .525680764"
GOLDEN = [-0.077182945, -0.574596075, -0.441460443, -0.551419810, 0.455979916]


def test_the_golden_weights_and_aggregate_are_found(golden_cohort):
    weights, _ = foolsgold_weights(cosines(golden_cohort.vectors), cap=0.99)
    np.testing.assert_allclose(weights, [float(w) for w in GOLDEN_WEIGHTS.split()], atol=1e-8)

    verdict, _ = FoolsGold(history=False).aggregate(golden_cohort, {})
    np.testing.assert_allclose(verdict.aggregate, GOLDEN, atol=1e-8)
    np.testing.assert_allclose(verdict.weights, weights / weights.sum(), atol=1e-12)
    assert set(verdict.flags) == {15, 45, 65, 75}  # rows 1, 4, 6, 7

    plain, _ = FoolsGold(history=False, normalise=False).aggregate(golden_cohort, {})
    np.testing.assert_allclose(plain.aggregate, weights.numpy() @ golden_cohort.vectors.numpy(), atol=1e-12)


def by_hand(rows, cap):
    """Spec 5.1, one number at a time."""
    k = len(rows)
    cs = [
        [
            0.0 if i == j else float(rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j]))
            for j in range(k)
        ]
        for i in range(k)
    ]
    m = [max(row) for row in cs]
    for i in range(k):
        for j in range(k):
            if i != j and m[i] < m[j]:
                cs[i][j] *= m[i] / m[j]
    a = [min(1.0, max(0.0, 1 - max(row))) for row in cs]
    a = [v / max(a) for v in a]
    a = [cap if v == 1 else v for v in a]
    w = [math.log(v / (1 - v)) + 0.5 if v > 0 else -math.inf for v in a]
    return [min(1.0, max(0.0, v)) for v in w]


@pytest.mark.parametrize("cap", [0.9, 0.99, 0.999999])
def test_the_weights_are_those_of_a_straight_loop(cap):
    for seed in range(20):
        rows = np.random.default_rng(seed).normal(size=(9, 4))
        weights, _ = foolsgold_weights(cosines(torch.from_numpy(rows)), cap)
        np.testing.assert_allclose(weights, by_hand(rows, cap), atol=1e-9)


def test_sybils_are_left_out_and_the_others_stay(cohort):
    rows = np.vstack([np.eye(6), np.full((3, 6), 1.0)])
    verdict, _ = FoolsGold().aggregate(cohort(rows), {})
    assert set(verdict.flags) == {65, 75, 85}
    assert verdict.weights[6:].tolist() == [0.0] * 3
    assert verdict.weights[:6].tolist() == pytest.approx([1 / 6] * 6)


def test_where_all_are_alike_nobody_is_trusted(cohort):
    verdict, _ = FoolsGold().aggregate(cohort(np.ones((4, 3))), {})
    assert verdict.aggregate.tolist() == [0.0] * 3
    assert len(verdict.flags) == 4


def test_it_judges_the_sum_of_what_a_client_has_sent_over_rounds(cohort):
    """By hand: 5 and 15 look different in each round, but after two their sums are the same (1, 1, 0)."""
    defense, state = FoolsGold(), {}
    for rows in ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]):
        verdict, state = defense.aggregate(cohort(rows), state)
    assert set(verdict.flags) == {5, 15}
    assert {i: h.tolist() for i, h in state.items()} == {5: [1, 1, 0], 15: [1, 1, 0], 25: [0, 0, 2]}


def test_whoever_stays_away_keeps_its_history(cohort):
    defense = FoolsGold()
    updates = cohort(np.eye(3))
    _, state = defense.aggregate(updates, {})
    _, after = defense.aggregate(updates.rows(torch.tensor([0, 2])), state)
    assert after[15] is state[15]
    assert after[5].tolist() == [2, 0, 0]


@pytest.mark.parametrize("normalise", [True, False])
def test_updates_near_the_end_of_float32_leave_history_weights_and_aggregate_finite(cohort, normalise):
    """By hand: float32 cannot hold 6e38. The sums stay at 0, 90 and 45 degrees: all scores are cos 45."""
    defense, state = FoolsGold(normalise=normalise), {}
    rows = torch.tensor([[3e38, 0.0], [0.0, 1.0], [3e38, 3e38]])
    for _ in range(3):
        verdict, state = defense.aggregate(cohort(rows), state)
    assert state[5].tolist() == [torch.finfo(torch.float32).max, 0]
    assert list(verdict.scores.values()) == pytest.approx([0.5**0.5] * 3)
    assert verdict.weights.tolist() == [1 / 3 if normalise else 1.0] * 3
    assert verdict.aggregate.isfinite().all()


def test_the_client_seen_longest_ago_is_forgotten_first(cohort):
    defense, updates = FoolsGold(max_clients=2), cohort(np.eye(3))
    _, state = defense.aggregate(updates.rows(torch.tensor([0, 1])), {})
    _, state = defense.aggregate(updates.rows(torch.tensor([0, 2])), state)
    assert list(state) == [5, 25]


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"cap must be in \(0.5, 1\), got 1"):
        FoolsGold(cap=1)
    with pytest.raises(ValueError, match="max_clients must be at least 1, got 0"):
        FoolsGold(max_clients=0)
