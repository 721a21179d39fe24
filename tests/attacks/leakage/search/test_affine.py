"""Oracles: torch.linalg.lstsq, and curves whose parameters are known."""

import pytest
import torch

from gauntlet.attacks.leakage.search.affine import settled
from gauntlet.attacks.leakage.search.engine import Budget
from gauntlet.attacks.leakage.search.least_squares import by_least_squares
from gauntlet.core.seeds import generator


def test_the_last_variable_is_solved_for_and_the_others_stay():
    """torch.linalg.lstsq; 9000 residuals and 70 unknowns are more than one block of either."""
    stream = generator(0, "affine")
    matrix, wanted = (torch.from_numpy(stream.standard_normal(n)) for n in ((9000, 70), 9000))
    first, start = torch.tensor([2.0]).double(), torch.from_numpy(stream.standard_normal((7, 10)))

    kept, found = settled(lambda v: v[0] * (matrix @ v[1].reshape(-1)) - wanted, (first, start))

    expected = torch.linalg.lstsq(2 * matrix, wanted[:, None]).solution.reshape(7, 10)
    assert kept is first
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_what_changes_nothing_stays_where_it_is():
    """a + b alone counts, and has to be 4: from (3, -1) both move by 1."""
    (found,) = settled(lambda v: v[0].sum()[None] - 4, (torch.tensor([3.0, -1.0]),))

    torch.testing.assert_close(found, torch.tensor([4.0, 0.0]))


@pytest.mark.parametrize("factor", [0.0, torch.nan])
def test_where_nothing_can_be_solved_for_all_stays(factor):
    start = torch.tensor([3.0, -1.0])

    (found,) = settled(lambda v: factor * v[0] - 1, (start,))

    assert torch.equal(found, start)


def test_a_curve_is_found_whose_factor_is_solved_for():
    """Golub and Pereyra 1973, Section 1: a exp(-b t) is linear in a; here a = 3, b = 2."""
    t = torch.linspace(0, 2, 20).double()
    curve = 3 * torch.exp(-2 * t)
    starts = [(torch.tensor([5.0]).double(), torch.tensor([-40.0]).double())]

    def missed(variables):
        rate, factor = variables
        return factor * torch.exp(-rate * t) - curve

    budget = Budget(max_iterations=40, tolerance=1e-20)
    found, together = (by_least_squares(missed, starts, budget, affine=on) for on in (True, False))

    torch.testing.assert_close(torch.cat(found.variables), torch.tensor([2.0, 3.0]).double())
    assert len(found.trace) < len(together.trace)
    assert found.trace[0] < together.trace[0]  # solved for at the start, too
