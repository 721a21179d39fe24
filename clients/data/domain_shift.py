"""Deal examples out at random, and show each client's in one of several domains.

Source: the feature shift of Li, Jiang, Zhang, Kamp, Dou. FedBN: Federated Learning on Non-IID Features via
Local Batch Normalization. ICLR 2021. arXiv:2102.07623, whose domains are other data sets; that they
are affine maps of one data set is our choice.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Array
from .iid import Iid


@dataclass(frozen=True)
class DomainShift:
    """Deal as ``iid``; inputs of client i become gain x + offset, by the domain i modulo their number.

    By default pixels as they are, their negative, and a low contrast. The test set stays as it is: score
    clients on what they hold out (``held_out``).

    Attributes:
        gains: What inputs are multiplied by in each domain, finite and not 0, at least one.
        offsets: What is added then, finite, in units of the inputs (pixels from 0 to 1), as many.
    """

    gains: tuple[float, ...] = (1.0, -1.0, 0.3)
    offsets: tuple[float, ...] = (0.0, 1.0, 0.35)

    complete: ClassVar[bool] = True
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.gains or len(self.gains) != len(self.offsets):
            raise ValueError(
                "gains and offsets must be as many, at least one; got "
                f"{len(self.gains)} and {len(self.offsets)}"
            )
        if not all(np.isfinite(self.gains)) or not all(self.gains) or not all(np.isfinite(self.offsets)):
            raise ValueError(
                "gains must be finite and not 0, offsets finite; got "
                f"{list(self.gains)}, {list(self.offsets)}"
            )

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        return Iid().split(y, groups, num_clients, seed)

    def alter(self, x: Array, client_id: int, num_clients: int, generator: np.random.Generator) -> Array:
        domain = client_id % len(self.gains)
        return np.float32(self.gains[domain]) * x + np.float32(self.offsets[domain])
