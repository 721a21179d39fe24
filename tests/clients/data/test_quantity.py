import numpy as np
import pytest

from gauntlet.clients.data.quantity import Quantity

Y = np.arange(60_000) % 10


def sizes(rows):
    return [len(r) for r in rows]


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("linear", [10_000, 20_000, 30_000]),  # of 1 + 2 + 3 = 6
        ("square", [4285, 17_142, 38_573]),  # of 1 + 4 + 9 = 14, rounded down, the rest to the last
        ("exponential", [5401, 14_683, 39_916]),  # e^i / (e + e^2 + e^3) = .09003, .24473, .66524
    ],
)
def test_sizes_follow_the_law(law, expected):
    """By hand."""
    rows = Quantity(law).split(Y, None, 3, 0)
    assert sizes(rows) == expected
    assert np.bincount(Y[rows[0]]).std() / len(rows[0]) < 0.01  # labels stay IID


@pytest.mark.parametrize("alpha", [0.5, 5.0])
def test_drawn_sizes_vary_as_dirichlet_draws_do(alpha):
    """Closed form: a share under Dir(alpha) over N has variance (1/N) (1 - 1/N) / (N alpha + 1)."""
    shares = np.array([sizes(Quantity(alpha=alpha).split(Y, None, 4, seed)) for seed in range(300)]) / len(Y)
    assert shares.var() == pytest.approx(1 / 4 * 3 / 4 / (4 * alpha + 1), rel=0.15)
    assert shares.sum(axis=1) == pytest.approx(np.ones(300))


def test_even_the_smallest_drawn_client_holds_one_example():
    rows = Quantity(alpha=0.01).split(Y[:100], None, 100, 0)
    assert sizes(rows) == [1] * 100


def test_a_law_too_steep_for_the_clients_is_refused():
    for num_clients in (30, 1000):
        with pytest.raises(
            ValueError, match=f"exponential law leave some of {num_clients} clients without any of 60000"
        ):
            Quantity("exponential").split(Y, None, num_clients, 0)


@pytest.mark.parametrize(("option", "value"), [("law", "cubic"), ("alpha", 0.0)])
def test_an_option_out_of_range_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        Quantity(**{option: value})
