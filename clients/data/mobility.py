"""Mobility: how many phones are in six regions, every half hour of 72 days. Forecast the next half hour.

Source: Arcolezi, Couchot, Renaud, Al Bouna, Xiao. Differentially Private Multivariate Time Series Forecasting
of Aggregated Human Mobility with Deep Learning: Input or Gradient Perturbation? Neural Computing and
Applications 34, 2022. arXiv:2205.00436; the data published beside the authors' notebooks
(``hharcolezi/ldp-protocols-mobility-cdrs``, MIT), outliers already imputed there.
"""

import csv
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset, Perturb, Targets
from .files import find_folder, missing
from .unpacking import read_bytes

FILE = "ML_final_df_real.csv"
LARGEST = 2**20  # bytes of the file; the published one has less than 2**18
CHECKSUM = "bb7a908a199504af7b3a2f5f397d2d1cd181987cf0f82dc954f9bd6f68de4a33"
REGIONS = (
    "Commune Montreuil",
    "IRIS 930480204",
    "IRIS 930480205",
    "IRIS 930480206",
    "IRIS 930480401",
    "IRIS 930480604",
)
ROWS, TRAIN_ROWS, ROWS_A_DAY = 3456, 3120, 48


@dataclass(frozen=True)
class Mobility:
    """Windows of the last ``lag`` half hours, and the counts of the next.

    Windows of the first 65 days are for training, those of the last 7 for test. Nothing is scaled; counts are
    never negative, so that a prediction below 0 is scored as 0.

    Attributes:
        lag: Half hours that a forecast sees, between 1 and 336. The paper: 6.
        clients: What is a natural client: a ``"day"`` of all regions (65 clients, 6 outputs), or a
            ``"region"`` with its own counts alone (6 clients, 1 output).
        clock: Whether a half hour has four features beside the counts: sine and cosine of the time of day
            and of the day of the week.
        week_days: Period of what is called week, in days, above 0. The authors' notebooks have 30.
    """

    lag: int = 6
    clients: Literal["day", "region"] = "day"
    clock: bool = True
    week_days: float = 7.0

    def __post_init__(self) -> None:
        if not 1 <= self.lag <= ROWS - TRAIN_ROWS:
            raise ValueError(f"lag must be in [1, {ROWS - TRAIN_ROWS}], got {self.lag}")
        if self.clients not in ("day", "region"):
            raise ValueError(f"clients must be one of day, region; got '{self.clients}'")
        if not 0 < self.week_days < np.inf:
            raise ValueError(f"week_days must be above 0 and finite, got {self.week_days}")

    def load(self) -> Dataset:
        return self.load_perturbed(lambda records: records)

    def load_perturbed(self, perturb: Perturb) -> Dataset:
        """Return the data set with its training windows cut from what ``perturb`` makes of their counts.

        Args:
            perturb: From the counts of the training rows to what is published of them, int64.  # [3120, 6]
        """
        times, counts = read_records()
        published = perturb(counts[:TRAIN_ROWS].copy())
        x, y = self._windows(times, np.concatenate([published, counts[TRAIN_ROWS:]]), self.lag, TRAIN_ROWS)
        test_x, test_y = self._windows(times, counts, TRAIN_ROWS, ROWS)
        days = np.arange(self.lag, TRAIN_ROWS) // ROWS_A_DAY
        bounds = float(min(x.min(), test_x.min())), float(max(x.max(), test_x.max()))
        if self.clients == "day":
            return Dataset("mobility", x, y, test_x, test_y, 0, (), (), bounds, days, Targets(REGIONS, 0.0))
        groups, test_groups = (np.repeat(np.arange(len(REGIONS)), len(part)) for part in (x, test_x))
        return Dataset(
            name="mobility",
            x=_each_alone(x),
            y=y.T.reshape(-1, 1).copy(),
            test_x=_each_alone(test_x),
            test_y=test_y.T.reshape(-1, 1).copy(),
            num_classes=0,
            value_range=bounds,
            groups=groups,
            targets=Targets(("users",), 0.0, REGIONS, test_groups),
        )

    def _windows(self, times: Array, counts: Array, first: int, end: int) -> tuple[Array, Array]:
        """Return the windows whose targets are the rows ``first`` to ``end``: [n, lag, 10 or 6], [n, 6]."""
        day, week = 2 * np.pi * times, 2 * np.pi * times / self.week_days
        clock = np.stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], axis=1)  # [3456, 4]
        rows = (np.concatenate([counts, clock], axis=1) if self.clock else counts).astype(np.float32)
        seen = np.lib.stride_tricks.sliding_window_view(rows[first - self.lag : end - 1], self.lag, axis=0)
        return np.ascontiguousarray(seen.transpose(0, 2, 1)), counts[first:end].astype(np.float32)


def _each_alone(x: Array) -> Array:
    """Return all windows of the first region, then of the second ...: [6 n, lag, 5 or 1]."""
    clock = x[:, :, len(REGIONS) :]
    return np.concatenate([np.concatenate([x[:, :, [r]], clock], axis=2) for r in range(len(REGIONS))])


def read_records() -> tuple[Array, Array]:
    """Return the time of each row in days since the first midnight [3456], and the counts, int64 [3456, 6].

    Raises:
        DataError: The file is not there, or not the published one.
    """
    folder = find_folder("mobility", [FILE])
    if folder is None:
        how = "get it from github.com/hharcolezi/ldp-protocols-mobility-cdrs (MIT)"
        raise missing("mobility", [FILE], how)
    rows = _rows(folder / FILE)
    begin = datetime.fromisoformat(rows[0]["Date"])
    clock = [datetime.fromisoformat(f"{row['Date']} {row['Hour']}") - begin for row in rows]
    times = np.array([t.total_seconds() / 86_400 for t in clock])
    return times, np.array([[int(row[region]) for region in REGIONS] for row in rows], dtype=np.int64)


def _rows(path: Path) -> list[dict[str, str]]:
    content = read_bytes(path, LARGEST)
    found = sha256(content).hexdigest()
    if found != CHECKSUM:
        raise DataError(f"{path} is not the published file: its sha256 is {found}, must be {CHECKSUM}")
    return list(csv.DictReader(content.decode("utf-8").splitlines()))
