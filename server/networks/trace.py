"""Delays that were measured: each client is one worker of a recorded run, each round one of its rounds.

Source: the delays behind Krishnan, Ebrahimi, Khisti. Sequential Gradient Coding for Straggler Mitigation.
ICLR 2023. arXiv:2211.13802 (256 serverless workers; the published files of the authors' repository).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...clients.data.files import find_folder, missing
from ...core.contracts import Delivery
from ...core.errors import DataError
from .ideal import Ideal

Array = np.ndarray[Any, Any]
NAME, FILE = "sgc_lambda_delays", "delays.csv.gz"
_COLUMNS = ("load", "round", "worker", "duration_s")


@dataclass(frozen=True)
class Trace:
    """Let client i that begins in round r take what worker i mod W took in round r mod R; nothing is lost.

    Delays at a load L are those measured at load 0 plus L times the least-squares slope of seconds by load
    over all loads that were measured.

    Attributes:
        path: A CSV file with columns load, round, worker, duration_s (and any others), of every worker in
            every round at load 0; None: the recorded delays of the source (folder ``sgc_lambda_delays``).
        profile, region, batch: Which of the source's recordings; not of a file of one's own.
        load: L, the share of the data that a worker processes, from 0 to 1.
    """

    path: str | None = None
    profile: str = "cnn_profile_est_desktop_long"
    region: str = "Canada"
    batch: int = 2048
    load: float = 0.0

    blind: ClassVar[bool] = True
    complete: ClassVar[bool] = True
    timed_by: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.load <= 1:
            raise ValueError(f"load must be from 0 to 1, got {self.load}")
        self.measured()

    def deliver(
        self, examples: Array, bytes_down: int | Array, bytes_up: Array, generator: np.random.Generator
    ) -> Delivery:
        return Ideal().deliver(examples, bytes_down, bytes_up, generator)

    def own_seconds(self, client_ids: Array, round_: int, seed: int) -> Array:
        """Return what clients take who begin in a round, float64.  # [K]"""
        zero, slope = self.measured()
        row = zero[round_ % len(zero)]
        found: Array = np.maximum(row[client_ids % len(row)] + self.load * slope, 0.0)
        return found

    def measured(self) -> tuple[Array, float]:
        """Return the delays at load 0, float64 [R, W], and the slope in seconds per unit of load.

        Raises:
            DataError: No such file, or none of these recordings in it.
        """
        if self.path is not None:
            return _read(self.path, None)
        folder = find_folder(NAME, (FILE,))
        if folder is None:
            raise missing(NAME, (FILE,), "name a file of your own as network.path")
        return _read(str(folder / FILE), (self.profile, self.region, self.batch))


@lru_cache(maxsize=8)
def _read(path: str, which: tuple[str, str, int] | None) -> tuple[Array, float]:
    import pandas as pd

    if not Path(path).is_file():
        raise DataError(f"network trace: there is no file {path}")
    try:
        rows = pd.read_csv(path)
    except (ValueError, OSError) as error:  # an empty file, or one that is no text
        raise DataError(f"network trace: {path} is no CSV file: {error}") from error
    names = (*_COLUMNS, *(("profile", "region", "batch") if which else ()))
    if lacking := [name for name in names if name not in rows]:
        raise DataError(f"{path} has no column {', '.join(lacking)}; a trace has {', '.join(names)}")
    if which is not None:
        rows = rows[(rows.profile == which[0]) & (rows.region == which[1]) & (rows.batch == which[2])]
    for name in _COLUMNS:
        if rows[name].dtype.kind not in "iuf" or not np.isfinite(rows[name]).all():
            raise DataError(f"{path} must hold finite numbers in column {name}")
    if which is None and rows.duplicated(["load", "round", "worker"]).any():
        raise DataError(f"{path} must hold one delay of a worker at a load in a round, and holds several")
    zero = rows[rows.load == 0].pivot_table(index="round", columns="worker", values="duration_s").to_numpy()
    found = f" of profile {which[0]}, region {which[1]}, batch {which[2]}" if which else ""
    if not zero.size or not np.isfinite(zero).all() or (zero < 0).any():
        raise DataError(f"{path} holds no whole table of delays at load 0{found}")
    several = rows.load.nunique() > 1
    slope = float(np.polyfit(rows.load, rows.duration_s, 1)[0]) if several else 0.0
    return zero, slope
