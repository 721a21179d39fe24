"""Adult (census income): 48 842 people, of whom a quarter earn more than 50 000 dollars a year.

Source: Becker, Kohavi. Adult. UCI Machine Learning Repository, 1996, data set 2 (CC BY 4.0): ``adult.data``
and ``adult.test``, as published or gzipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import find_folder, missing
from .unpacking import read_bytes

FILES = ("adult.data.gz", "adult.test.gz")
LARGEST = 2**24  # bytes of a file; the published ones have less than 2**22
COLUMNS = 15
NUMBERS = (0, 4, 10, 11, 12)  # age, years of education, capital gain, capital loss, hours a week
SKEWED = (10, 11)  # brought to log(1 + x) first
WORDS = (1, 5, 6, 7, 8, 9, 13)  # work class, marital status, occupation, relationship, race, sex, country

RANGES = ((17, 90), (1, 16), (0, np.log1p(99_999)), (0, np.log1p(99_999)), (1, 99))
"""What each number can be by the census's own coding (youngest asked, highest codes), skewed ones as logs."""
CATEGORIES = (  # of WORDS, as ``adult.names`` lists them
    "Private, Self-emp-not-inc, Self-emp-inc, Federal-gov, Local-gov, State-gov, Without-pay, Never-worked",
    "Married-civ-spouse, Divorced, Never-married, Separated, Widowed, Married-spouse-absent, "
    "Married-AF-spouse",
    "Tech-support, Craft-repair, Other-service, Sales, Exec-managerial, Prof-specialty, Handlers-cleaners, "
    "Machine-op-inspct, Adm-clerical, Farming-fishing, Transport-moving, Priv-house-serv, Protective-serv, "
    "Armed-Forces",
    "Wife, Own-child, Husband, Not-in-family, Other-relative, Unmarried",
    "White, Asian-Pac-Islander, Amer-Indian-Eskimo, Other, Black",
    "Female, Male",
    "United-States, Cambodia, England, Puerto-Rico, Canada, Germany, Outlying-US(Guam-USVI-etc), India, "
    "Japan, Greece, South, China, Cuba, Iran, Honduras, Philippines, Italy, Poland, Jamaica, Vietnam, "
    "Mexico, Portugal, Ireland, France, Dominican-Republic, Laos, Ecuador, Taiwan, Haiti, Columbia, Hungary, "
    "Guatemala, Nicaragua, Scotland, Thailand, Yugoslavia, El-Salvador, Trinadad&Tobago, Peru, Hong, "
    "Holand-Netherlands",
)


@dataclass(frozen=True)
class Adult:
    """People as 5 standardised numbers and 83 indicators of categories; label 1 earns more than 50 000.

    The published split: 32 561 to train, 16 281 to test. Capital gain and loss are brought to log(1 + x). A
    missing category (``?``), or one that is not known, leaves all its indicators 0. The weight of the census
    (``fnlwgt``) and the degree, which the years of education tell as well, are left out.

    Attributes:
        scale: ``"training"``: numbers have mean 0 and deviation 1 over the training examples, and the
            categories are theirs. That says something about them that no mechanism protects: there is no
            epsilon then (``fitted_inputs``). ``"ranges"``: numbers go from -1 to 1 over what the census codes
            (beyond, they are cut), and the categories are the documented ones.
    """

    scale: Literal["training", "ranges"] = "training"

    def __post_init__(self) -> None:
        if self.scale not in ("training", "ranges"):
            raise ValueError(f"scale must be one of training, ranges; got '{self.scale}'")

    def load(self) -> Dataset:
        folder = find_folder("adult", FILES)
        if folder is None:
            raise missing(
                "adult", FILES, "get them from the UCI Machine Learning Repository, data set 2, and gzip them"
            )
        train, test = (_read(folder / file) for file in FILES)
        learnt = self.scale == "training"
        names = [sorted({row[c] for row in train} - {"?"}) for c in WORDS] if learnt else _documented()
        numbers, tested = (_standardised if learnt else _within)(_numbers(train), _numbers(test))
        x, test_x = (
            np.hstack([values, _indicators(rows, names)]).astype(np.float32)
            for values, rows in ((numbers, train), (tested, test))
        )
        return Dataset(
            name="adult",
            x=x,
            y=_labels(train),
            test_x=test_x,
            test_y=_labels(test),
            num_classes=2,
            value_range=(float(min(x.min(), test_x.min())), float(max(x.max(), test_x.max()))),
            fitted=("the scale of its numbers and its categories (adult: scale = 'ranges')",)
            if learnt
            else (),
        )


def _documented() -> list[list[str]]:
    return [sorted(names.split(", ")) for names in CATEGORIES]


def _standardised(numbers: Array, tested: Array) -> tuple[Array, Array]:
    """Return numbers of mean 0 and deviation 1 over the training examples."""
    middle, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1)
    return (numbers - middle) / deviation, (tested - middle) / deviation


def _within(numbers: Array, tested: Array) -> tuple[Array, Array]:
    """Return numbers from -1 to 1 over their public ranges."""
    low, high = np.array(RANGES).T
    scaled = [(2 * values - low - high) / (high - low) for values in (numbers, tested)]
    return scaled[0].clip(-1, 1), scaled[1].clip(-1, 1)


def _read(path: Path) -> list[list[str]]:
    """Return a file's rows of 15 words."""
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.rstrip().rstrip(".").split(",")]
        if len(cells) != COLUMNS or cells[-1] not in ("<=50K", ">50K"):
            raise DataError(
                f"{path}, line {number}: needs {COLUMNS} columns and an income, got {line[:80]!r}"
            )
        rows.append(cells)
    if len(rows) < 2:
        raise DataError(f"{path} holds {len(rows)} people, must be at least 2")
    return rows


def _lines(path: Path) -> list[str]:
    return read_bytes(path, LARGEST).decode("ascii", errors="replace").splitlines()


def _labels(rows: Sequence[Sequence[str]]) -> Array:
    return np.array([row[-1] == ">50K" for row in rows], dtype=np.int64)


def _numbers(rows: Sequence[Sequence[str]]) -> Array:
    """Return the numeric columns, float64.  # [n, 5]"""
    try:
        values = np.array([[float(row[c]) for c in NUMBERS] for row in rows])
    except ValueError as error:
        raise DataError(
            f"adult: columns {', '.join(str(c + 1) for c in NUMBERS)} hold numbers, {error}"
        ) from error
    skewed = [NUMBERS.index(c) for c in SKEWED]
    if not ((values >= 0) & (values <= 1e12)).all():
        raise DataError("adult: numbers must be between 0 and 1e12")
    values[:, skewed] = np.log1p(values[:, skewed])
    return values


def _indicators(rows: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> Array:
    """Return a column for each category of each word, 1 where a row has it."""
    columns = [
        np.array([row[c] for row in rows])[:, None] == np.array(known)
        for c, known in zip(WORDS, names, strict=True)
    ]
    return np.hstack(columns).astype(np.float64)
