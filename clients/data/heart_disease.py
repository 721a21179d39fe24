"""Heart disease: 920 patients of four hospitals, 13 features, ill or not. The hospitals are natural clients.

Source: Janosi, Steinbrunn, Pfisterer, Detrano. Heart Disease. UCI Machine Learning Repository, 1988, data
set 45 (CC BY 4.0): the four ``processed`` files. As a federated task: Ogier du Terrail et al. FLamby.
NeurIPS 2022 Datasets and Benchmarks. arXiv:2210.04620.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.seeds import generator
from .base import Array, Dataset
from .files import find_folder, missing
from .unpacking import read_bytes

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
FILES = tuple(f"processed.{hospital}.data" for hospital in HOSPITALS)
COLUMNS = 14
LARGEST = 2**20  # bytes of a file; the published ones have less than 2**15


@dataclass(frozen=True)
class HeartDisease:
    """Patients as 13 standardised features; label 1 where the last column is above 0.

    Of each hospital a fixed random share, rounded, is held out for test. A missing value becomes the median
    of the training patients of all hospitals; then features are brought to mean 0 and deviation 1 over them.
    (Categories stay numbers, and cholesterol 0 stays 0, as published.) ``groups`` is the hospital, from 0.

    Attributes:
        test_share: Share of each hospital's patients held out, between 0.05 and 0.95.
    """

    test_share: float = 0.25

    def __post_init__(self) -> None:
        if not 0.05 <= self.test_share <= 0.95:
            raise ValueError(f"test_share must be in [0.05, 0.95], got {self.test_share}")

    def load(self) -> Dataset:
        folder = find_folder("heart_disease", FILES)
        if folder is None:
            raise missing(
                "heart_disease", FILES, "get them from the UCI Machine Learning Repository, data set 45"
            )
        tables = [_read(folder / file) for file in FILES]
        rows = np.concatenate(tables)  # [n, 14]
        hospital = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
        held_out = np.concatenate([self._held_out(i, len(t)) for i, t in enumerate(tables)])
        if len(unknown := np.flatnonzero(np.isnan(rows[~held_out, :-1]).all(axis=0))):
            raise DataError(f"{folder}: column {unknown[0] + 1} is known of no training patient")
        x = _standardised(rows[:, :-1], ~held_out)
        y = (rows[:, -1] > 0).astype(np.int64)
        return Dataset(
            name="heart_disease",
            x=x[~held_out],
            y=y[~held_out],
            test_x=x[held_out],
            test_y=y[held_out],
            num_classes=2,
            value_range=(float(x.min()), float(x.max())),
            groups=hospital[~held_out],
        )

    def _held_out(self, hospital: int, patients: int) -> Array:
        order = generator(0, "heart_disease split", hospital).permutation(patients)
        mask: Array = order < round(self.test_share * patients)
        return mask


def _read(path: Path) -> Array:
    """Return a hospital's table, float64 with NaN for what is missing.  # [n, 14]"""
    rows = []
    text = read_bytes(path, LARGEST).decode("ascii", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split(",")
        try:
            rows.append([np.nan if cell.strip() == "?" else float(cell) for cell in cells])
        except ValueError as error:
            raise DataError(f"{path}, line {number}: cells must be numbers or '?', {error}") from error
        if len(cells) != COLUMNS or np.isnan(rows[-1][-1]):
            raise DataError(
                f"{path}, line {number}: needs {COLUMNS} columns with a known last one, got {line[:80]!r}"
            )
    if len(rows) < 2:
        raise DataError(f"{path} holds {len(rows)} patients, must be at least 2")
    if np.nanmax(np.abs(rows)) > 1e12:
        raise DataError(f"{path}: numbers must be within 1e12 of 0")
    return np.array(rows)


def _standardised(features: Array, train: Array) -> Array:
    """Return features without gaps, in units of the training patients' deviation, float32.  # [n, 13]"""
    filled = np.where(np.isnan(features), np.nanmedian(features[train], axis=0), features)
    deviation = filled[train].std(axis=0)
    scaled = (filled - filled[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    features32: Array = scaled.astype(np.float32)
    return features32
