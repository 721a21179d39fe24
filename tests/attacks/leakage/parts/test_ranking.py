"""Oracles: pairs counted by hand; scikit-learn's area and curve."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.leakage.parts.ranking import auc, tpr_at
from gauntlet.core.seeds import generator


@pytest.mark.parametrize(
    ("members", "others", "expected"),
    [
        ([3.0, 1.0], [2.0, 0.0], 3 / 4),  # 3 is above both, 1 above one
        ([1.0], [1.0], 1 / 2),
        ([1.0, 1.0, 2.0], [1.0, 3.0], 2 / 6),  # two ties, and 2 above 1
        ([0.0], [1.0, 2.0], 0.0),
    ],
)
def test_the_area_counts_pairs_and_half_a_tie(members, others, expected):
    assert auc(torch.tensor(members), torch.tensor(others)) == pytest.approx(expected)


def test_area_and_hits_are_those_of_scikit_learn():
    from sklearn.metrics import roc_auc_score, roc_curve

    stream = generator(0, "ranking")
    for shift in (0.0, 0.5, 2.0):
        inside, outside = stream.normal(shift, 1, 300).round(1), stream.normal(0, 1, 1000).round(1)
        truth, scores = np.r_[np.ones(300), np.zeros(1000)], np.r_[inside, outside]
        false, true, _ = roc_curve(truth, scores, drop_intermediate=False)

        found = torch.from_numpy(inside), torch.from_numpy(outside)
        assert auc(*found) == pytest.approx(roc_auc_score(truth, scores))
        for rate in (1e-1, 1e-2, 1e-3):
            assert tpr_at(*found, rate) == pytest.approx(true[false <= rate + 1e-12].max())


def test_a_rate_below_one_of_the_non_members_says_nothing():
    members, others = torch.ones(5), torch.zeros(999)

    assert tpr_at(members, others, 1e-2) == 1.0
    assert np.isnan(tpr_at(members, others, 1e-3))
    assert tpr_at(members, torch.zeros(1000), 1e-3) == 1.0
    assert np.isnan(auc(members, others[:0]))
