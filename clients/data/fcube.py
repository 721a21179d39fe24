"""FCUBE: points in a cube, whose parties hold opposite octants, so that features differ and labels do not.

Source: Li, Diao, Chen, He. Federated Learning on Non-IID Data Silos: An Experimental Study. ICDE 2022
("synthetic feature imbalance"), and the authors' code. arXiv:2102.02079
"""

from dataclasses import dataclass

import numpy as np

from ...core.seeds import generator
from .base import Array, Dataset

_PARTIES = 4


@dataclass(frozen=True)
class FCube:
    """Points of [-1, 1]^3 with the label 0 where the first coordinate is above 0, else 1.

    Party r of four (a natural client) holds two opposite octants: points of the cube [0, 1]^3 whose second
    coordinate is negated for r above 1 and whose third for odd r, every other point negated as a whole.
    Test points are uniform in [-1, 1]^3. All are the same in every run.

    Attributes:
        points_per_party: At least 2.
        num_test: Test points, at least 1.
    """

    points_per_party: int = 1000
    num_test: int = 1000

    def __post_init__(self) -> None:
        for name, least in (("points_per_party", 2), ("num_test", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def load(self) -> Dataset:
        x = np.concatenate([self._party(r) for r in range(_PARTIES)])
        test_x = generator(0, "fcube test").uniform(-1, 1, (self.num_test, 3)).astype(np.float32)
        return Dataset(
            name="fcube",
            x=x,
            y=_labels(x),
            test_x=test_x,
            test_y=_labels(test_x),
            num_classes=2,
            value_range=(-1.0, 1.0),
            groups=np.repeat(np.arange(_PARTIES), self.points_per_party),
        )

    def _party(self, number: int) -> Array:
        """Return one party's points, float32.  # [n, 3]"""
        x = generator(0, "fcube", number).uniform(0, 1, (self.points_per_party, 3))
        x[:, 1] *= -1 if number > 1 else 1
        x[:, 2] *= -1 if number % 2 else 1
        x[1::2] *= -1
        return x.astype(np.float32)


def _labels(x: Array) -> Array:
    return (x[:, 0] <= 0).astype(np.int64)
