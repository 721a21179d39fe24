"""Heart disease: 920 patients of four hospitals, 13 features, ill or not. The hospitals are natural clients.

Source: Janosi, Steinbrunn, Pfisterer, Detrano. Heart Disease. UCI Machine Learning Repository, 1988, data
set 45 (CC BY 4.0): the four ``processed`` files. As a federated task: Ogier du Terrail et al. FLamby.
NeurIPS 2022 Datasets and Benchmarks. arXiv:2210.04620.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

RANGES = (
    *((0, 100), (0, 1), (1, 4), (0, 250), (0, 600), (0, 1), (0, 2)),  # age ... resting electrocardiogram
    *((50, 250), (0, 1), (-5, 10), (1, 3), (0, 3), (3, 7)),  # heart rate ... thal
)
"""What each feature can be: by the documented codes, and of measurements what a living patient can have."""


@dataclass(frozen=True)
class HeartDisease:
    """Patients as 13 scaled features; label 1 where the last column is above 0.

    Of each hospital a fixed random share, rounded, is held out for test. (Categories stay numbers, and
    cholesterol 0 stays 0, as published.) ``groups`` is the hospital, from 0.

    Attributes:
        test_share: Share of each hospital's patients held out, between 0.05 and 0.95.
        scale: ``"training"``: a missing value becomes the median of the training patients of all hospitals,
            and features have mean 0 and deviation 1 over them. That says something about them that no
            mechanism protects: there is no epsilon then (``fitted_inputs``). ``"ranges"``: features go from
            -1 to 1 over their public ranges (beyond, they are cut), and a missing value is 0.
    """

    test_share: float = 0.25
    scale: Literal["training", "ranges"] = "training"

    def __post_init__(self) -> None:
        if not 0.05 <= self.test_share <= 0.95:
            raise ValueError(f"test_share must be in [0.05, 0.95], got {self.test_share}")
        if self.scale not in ("training", "ranges"):
            raise ValueError(f"scale must be one of training, ranges; got '{self.scale}'")

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
        learnt = self.scale == "training"
        x = _standardised(rows[:, :-1], ~held_out) if learnt else _within(rows[:, :-1])
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
            fitted=("the scale of its features (heart_disease: scale = 'ranges')",) if learnt else (),
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


def _within(features: Array) -> Array:
    """Return features from -1 to 1 over their public ranges, 0 where they are missing, float32.  # [n, 13]"""
    low, high = np.array(RANGES, dtype=np.float64).T
    scaled = ((2 * features - low - high) / (high - low)).clip(-1, 1)
    features32: Array = np.where(np.isnan(scaled), 0, scaled).astype(np.float32)
    return features32


def _standardised(features: Array, train: Array) -> Array:
    """Return features without gaps, in units of the training patients' deviation, float32.  # [n, 13]"""
    filled = np.where(np.isnan(features), np.nanmedian(features[train], axis=0), features)
    deviation = filled[train].std(axis=0)
    scaled = (filled - filled[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    features32: Array = scaled.astype(np.float32)
    return features32
