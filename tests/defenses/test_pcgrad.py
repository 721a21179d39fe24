"""Oracles: rows by hand, and the paper's Algorithm 1 written out on vectors."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.parts.draws import stream
from gauntlet.defenses.parts.geometry import gram_of
from gauntlet.defenses.pcgrad import PCGrad, projections

IN_TURN = np.tile(np.arange(3), (3, 1))


def by_vectors(rows, orders):
    """Algorithm 1: what is left of each, against the others as they came."""
    left = rows.copy()
    for i, order in enumerate(orders):
        for j in order:
            product = left[i] @ rows[j]
            if j != i and product < 0:
                left[i] -= product / (rows[j] @ rows[j]) * rows[j]
    return left


@pytest.mark.parametrize(
    ("rows", "projected"),
    [
        ([[1, 0], [-1, 1]], [[0.5, 0.5], [0, 1]]),
        ([[1, 0], [-1, 1], [-0.5, -1]], [[0.2, -0.1], [-0.4, 0.2], [-0.5, -0.5]]),
    ],
)
def test_rows_are_those_of_the_hand_calculation(rows, projected):
    """The second: clients in the order of their ids."""
    u = torch.tensor(rows, dtype=torch.float64)
    surgery = projections(gram_of(u), IN_TURN[: len(u), : len(u)])
    np.testing.assert_allclose(surgery @ u.numpy(), projected, atol=1e-15)


def test_a_round_is_the_algorithm_in_its_own_stream_s_order(cohort, at):
    rows = np.random.default_rng(0).normal(size=(12, 9))
    updates = at(cohort(rows), 3, seed=7)
    out, rounds = PCGrad().transform(updates, 5)
    orders = stream(updates, "pcgrad", 5).permuted(np.tile(np.arange(12), (12, 1)), axis=1)
    np.testing.assert_allclose(out.vectors, by_vectors(rows, orders), atol=1e-12)
    assert rounds == 6
    assert out.client_ids.tolist() == updates.client_ids.tolist()
    other, _ = PCGrad().transform(at(cohort(rows), 4, seed=7), 5)
    assert not torch.equal(other.vectors, out.vectors)


def test_without_conflicts_the_rows_stay_as_they_are(cohort):
    updates = cohort(np.abs(np.random.default_rng(1).normal(size=(6, 5))))
    assert PCGrad().transform(updates, 0)[0] is updates


def test_an_update_of_no_length_conflicts_with_nobody(cohort):
    rows = [[1.0, 0.0], [0.0, 0.0], [-1.0, 1.0]]
    out, _ = PCGrad().transform(cohort(rows), 0)
    np.testing.assert_allclose(out.vectors, [[0.5, 0.5], [0, 0], [0, 1]], atol=1e-15)


def test_a_liar_erases_a_direction_from_all(cohort):
    """By hand: 100 honest (1, 1) beside one (-1e9, 0) keep (0, 1)."""
    rows = [[1.0, 1.0]] * 100 + [[-1e9, 0.0]]
    out, _ = PCGrad().transform(cohort(rows), 0)
    np.testing.assert_allclose(out.vectors[:100], [[0.0, 1.0]] * 100, atol=1e-6)


def test_the_longest_numbers_stay_numbers(cohort):
    """By hand: against (-1, 0) m the update (1, 1) m keeps (0, 1) m; the other one gets (-1/2, 1/2) m."""
    most = torch.finfo(torch.float32).max
    rows, _ = PCGrad().transform(cohort(torch.tensor([[1.0, 1.0], [-1.0, 0.0]]) * most), 0)
    torch.testing.assert_close(rows.vectors / most, torch.tensor([[0.0, 1.0], [-0.5, 0.5]]))
    around = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.1, -1.0]]) * most
    assert PCGrad().transform(cohort(around), 0)[0].vectors.isfinite().all()
