"""Forecasts without learning, beside the figures published for mobility and by hand."""

import numpy as np
import pytest

from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.clients.data.baselines import errors, least_squares, seasonal
from gauntlet.clients.data.mobility import Mobility, read_records


@pytest.fixture(scope="module")
def counts(real_data):
    real_data("mobility")
    return read_records()[1]


@pytest.mark.parametrize(
    ("period", "rmse", "mae"), [(1, 1503.6, 1107.1), (48, 2036.8, 1451.7), (336, 2767.0, 2184.0)]
)
def test_naive_forecasts_of_mobility_are_the_known_ones(counts, period, rmse, mae):
    """Persistence: Arcolezi et al. 2022; yesterday and last week: measured for the specification."""
    found = seasonal(counts, 336, period)

    assert found.mean_rmse == pytest.approx(rmse, abs=0.1)
    assert found.mean_mae == pytest.approx(mae, abs=0.1)


def test_persistence_is_the_known_one_in_every_region(counts):
    """Specification: per region 3461.6 1131.8 1517.9 986.5 561.3 1362.3."""
    published = [3461.6, 1131.8, 1517.9, 986.5, 561.3, 1362.3]

    assert seasonal(counts, 336).rmse == pytest.approx(published, abs=0.1)


def test_a_linear_fit_of_mobilitys_counts_is_the_known_one(counts):
    """Specification: 1288.6 and 974.3, on six lags of the six counts with an intercept."""
    found = least_squares(Mobility(clock=False).load())

    assert found.mean_rmse == pytest.approx(1288.6, abs=0.1)
    assert found.mean_mae == pytest.approx(974.3, abs=0.1)


def test_errors_by_hand():
    """Off by 3 and 4: root of 12.5, mean 3.5; in the other output always by 2."""
    found = errors(np.array([[3.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [4.0, 2.0]]))

    assert found.rmse == pytest.approx([12.5**0.5, 2.0])
    assert found.mae == pytest.approx([3.5, 2.0])
    assert found.mean_mae == pytest.approx(2.75)


def test_a_seasonal_forecast_by_hand():
    """The rows before [6, 8] by two are [2, 4]."""
    assert seasonal(np.array([[0], [2], [4], [6], [8]]), 2, period=2).mae.tolist() == [4.0]


def test_a_linear_fit_finds_the_line_and_cuts_what_cannot_be():
    """y = 10 - 2 x; at x = 7 that is -4, which a target of at least 0 never is."""
    x, test_x = (np.array(values, dtype=np.float32)[:, None] for values in ([1, 2, 3], [4, 7]))
    y, test_y = 10 - 2 * x, np.array([[2], [1]], dtype=np.float32)
    line = Dataset("line", x, y, test_x, test_y, 0, value_range=(0, 9), targets=Targets(("y",), 0.0))

    assert least_squares(line).mae == pytest.approx([0.5], abs=1e-5)


@pytest.mark.parametrize(("rows", "period"), [(2, 0), (2, 4), (0, 1)])
def test_a_forecast_from_before_the_series_is_refused(rows, period):
    with pytest.raises(ValueError, match=f"at most 5 together, got {period} and {rows}"):
        seasonal(np.zeros((5, 1)), rows, period)


def test_labels_have_no_linear_fit():
    x, y = np.zeros((2, 1), dtype=np.float32), np.arange(2)

    with pytest.raises(ValueError, match="least_squares needs real-valued targets, pile has labels"):
        least_squares(Dataset("pile", x, y, x, y, 2))
