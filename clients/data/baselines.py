"""Forecasts that learn nothing, or a line: what a forecasting model must beat.

Source: Hyndman, Athanasopoulos. Forecasting: Principles and Practice. 3rd edition, 2021, Section 5.2 (naive
and seasonal naive forecasts); ordinary least squares. On the mobility data, persistence is the baseline of
Arcolezi, Couchot, Renaud, Al Bouna, Xiao. Neural Computing and Applications 34, 2022. arXiv:2205.00436
"""

from dataclasses import dataclass

import numpy as np

from .base import Array, Dataset


@dataclass(frozen=True, eq=False)
class Errors:
    """How far a forecast is off, in units of the target.

    Attributes:
        rmse: Root of the mean squared error of each output.  # [D]
        mae: Mean absolute error of each output.  # [D]
    """

    rmse: Array
    mae: Array

    @property
    def mean_rmse(self) -> float:
        """The mean of ``rmse`` over the outputs."""
        return float(self.rmse.mean())

    @property
    def mean_mae(self) -> float:
        """The mean of ``mae`` over the outputs."""
        return float(self.mae.mean())


def errors(forecast: Array, truth: Array) -> Errors:
    """Return the errors of a forecast, in float64.  # [m, D] both"""
    off = forecast.astype(np.float64) - truth
    return Errors(np.sqrt(np.square(off).mean(axis=0)), np.abs(off).mean(axis=0))


def seasonal(series: Array, test_rows: int, period: int = 1) -> Errors:
    """Forecast each of the last ``test_rows`` rows by the row ``period`` before it; 1 is persistence.

    Args:
        series: Rows in the order of time.  # [rows, D]
        test_rows: Rows to forecast, at least 1.
        period: How many rows back, at least 1.

    Raises:
        ValueError: The series does not reach back so far.
    """
    begin = len(series) - test_rows
    if not 1 <= period <= begin or test_rows < 1:
        raise ValueError(
            f"period and test_rows must be at least 1 and at most {len(series)} together, got {period} "
            f"and {test_rows}"
        )
    return errors(series[begin - period : len(series) - period], series[begin:])


def least_squares(data: Dataset) -> Errors:
    """Fit every output by a linear function of all inputs on the training set; score it on the test set.

    Raises:
        ValueError: The data set is a classification.
    """
    if data.targets is None:
        raise ValueError(f"least_squares needs real-valued targets, {data.name} has labels")
    flat, test = (
        np.c_[x.reshape(len(x), -1), np.ones(len(x))].astype(np.float64) for x in (data.x, data.test_x)
    )
    scale = np.abs(flat).max(axis=0)  # counts beside sines: without it the solver loses digits
    weights, *_ = np.linalg.lstsq(flat / scale, data.y.astype(np.float64), rcond=None)  # [features + 1, D]
    return errors(np.maximum(test / scale @ weights, data.targets.least), data.test_y)
