"""Oracles: the golden values of the robustness spec (section 7) and hand cases."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.fltrust import FLTrust

GOLDEN = [0.093942526, -0.057746194, 0.098709789, -0.701397882, -0.186103806]
TRUST = [0.185586883, 0.764367174, 0.666053276, 0, 0, 0.145483230, 0.219950668, 0, 0, 0]


def test_the_golden_trust_and_aggregate_are_found(golden_cohort, at):
    """g0 = X[0], the clients are X[1..10]."""
    clients = at(golden_cohort.rows(torch.arange(1, 11)), root=golden_cohort.vectors[0])
    verdict, _ = FLTrust().aggregate(clients, None)
    np.testing.assert_allclose(list(verdict.scores.values()), TRUST, atol=1e-8)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN, atol=1e-8)
    np.testing.assert_allclose(verdict.weights.numpy() @ clients.vectors.numpy(), GOLDEN, atol=1e-8)
    assert set(verdict.flags) == {45, 55, 85, 95, 105}  # trust 0


def test_a_long_update_counts_no_more_than_a_short_one(cohort, at):
    """By hand: both point at (1, 0), the root is 2 long: (2, 0) whatever their lengths."""
    verdict, _ = FLTrust().aggregate(at(cohort([[1e6, 0], [1e-3, 0]]), root=torch.tensor([2.0, 0.0])), None)
    assert verdict.aggregate.tolist() == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize("root", [[1.0, 0.0], [0.0, 0.0]])
def test_nobody_trusted_or_no_root_direction_moves_nothing(cohort, at, root):
    verdict, _ = FLTrust().aggregate(at(cohort([[-1.0, 0.0], [0.0, 0.0]]), root=torch.tensor(root)), None)
    assert verdict.aggregate.tolist() == [0.0, 0.0]
    assert len(verdict.flags) == 2


def test_it_says_what_it_lacks(cohort, at):
    with pytest.raises(ValueError, match=r"fltrust needs the server's own update: updates.context must be"):
        FLTrust().aggregate(cohort(np.eye(2)), None)
    with pytest.raises(ValueError, match="root_examples must be above 0"):
        FLTrust().aggregate(at(cohort(np.eye(2))), None)
