"""Oracle: dL/dz_c = mean p_c - n_c / B (iDLG, Equation 3), so that no absent class is ever negative."""

import pytest
from torch import nn

from gauntlet.attacks.leakage.negative_rows import NegativeRows


@pytest.mark.parametrize("read", ["weights", "bias"])
@pytest.mark.parametrize("size", [1, 4, 16])
def test_what_is_said_to_be_there_is_there(digits, mlp, observe, read, size):
    x, y = digits
    found = there = 0
    for t in range(20):
        seen = observe(mlp(nn.ReLU, seed=t), x[t * size :][:size], y[t * size :][:size])
        (scores,) = NegativeRows(read).infer([seen])
        present = y[t * size :][:size].bincount(minlength=10) > 0

        assert set(scores.tolist()) <= {0.0, 1.0}
        assert not bool((scores.bool() & ~present).any())
        found, there = found + int(scores.sum()), there + int(present.sum())
    assert found / there > (0.99 if size < 16 else 0.5)
