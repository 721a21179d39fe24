"""Weighted least squares with a known solution."""

import pytest
import torch

from gauntlet.clients.data.wls import WeightedLeastSquares
from gauntlet.core.errors import DataError


def test_the_test_examples_measure_the_distance_from_the_solution_of_all_rows():
    """Oracle: the normal equations of the rows that clients hold, solved here; and any other point."""
    data = WeightedLeastSquares(num_features=5).populate(6, 3)
    x, y = (torch.cat(parts).double() for parts in zip(*(data.client(i) for i in range(6)), strict=True))
    best = torch.linalg.lstsq(x, y).solution
    inputs, targets = data.test()
    assert torch.allclose(targets.double(), best, atol=1e-5)

    off = torch.tensor([[0.3], [0.0], [-0.4], [0.0], [0.0]])
    loss = (inputs @ (best.float() + off) - targets).square().mean()
    assert float(loss) == pytest.approx(0.25 / 5, rel=1e-3)  # ||w_true||^2 = 5


def test_rows_have_the_weights_and_scales_that_are_said():
    """Mean square of an entry: E[U(.5,1.5)^2] E[U(.5,1.5)] = 13/12; of a residual .01 E[weight] = .01."""
    problem = WeightedLeastSquares(rows_per_client=40, num_features=4)
    data = problem.populate(300, 0)
    pieces = [data.client(i) for i in range(300)]
    x = torch.stack([one for one, _ in pieces]).double()
    assert float(x.square().mean()) == pytest.approx(13 / 12, rel=0.05)
    y = torch.stack([one for _, one in pieces]).double()
    off = y[..., 0] - x @ torch.from_numpy(data.solution)
    assert float(off.square().mean()) == pytest.approx(0.01, rel=0.03)
    assert float(torch.from_numpy(data._truth).square().sum()) == pytest.approx(4)


def test_a_client_is_the_same_in_a_larger_population():
    few, many = (WeightedLeastSquares().populate(n, 3) for n in (2, 50))
    assert torch.equal(few.client(1)[0], many.client(1)[0])
    assert not torch.equal(few.client(0)[0], few.client(1)[0])


def test_too_few_rows_and_other_sizes_are_refused():
    with pytest.raises(DataError, match="wls: 6 rows in all for 8 unknowns"):
        WeightedLeastSquares(rows_per_client=3).populate(2, 0)
    with pytest.raises(ValueError, match="rows_per_client must be at least 1"):
        WeightedLeastSquares(rows_per_client=0)
