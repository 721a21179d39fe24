"""Deal the examples out at random, as evenly as possible.

Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks
from Decentralized Data. AISTATS 2017, Section 3 ("IID"). arXiv:1602.05629.

flwr-datasets' ``IidPartitioner`` deals the same rows (a test compares), but loading that package takes longer
than everything else before the first round of a small run.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.seeds import generator
from .assignment import check_enough
from .base import Array


@dataclass(frozen=True)
class Iid:
    """Shuffle all examples and cut them into parts whose sizes differ by one at most."""

    complete: ClassVar[bool] = True
    label_free: ClassVar[bool] = True

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        check_enough(len(y), num_clients)
        order = generator(seed, "partition rows").permutation(len(y))
        return [np.sort(part) for part in np.array_split(order, num_clients)]
