"""Leave the examples with the clients where they were collected."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .assignment import rows_of
from .base import NO_GROUPS, Array


@dataclass(frozen=True)
class Natural:
    """Make each natural group (a hospital, a speaker) one client, in the groups' sorted order.

    The same split as flwr-datasets' ``NaturalIdPartitioner``, which is not called because it loops over
    examples in Python and writes a progress bar that cannot be turned off.
    """

    complete: ClassVar[bool] = True
    label_free: ClassVar[bool] = True
    seeded: ClassVar[bool] = False
    natural: ClassVar[bool] = True

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        if groups is None:
            raise ValueError(NO_GROUPS)
        names, owner = np.unique(groups, return_inverse=True)
        if len(names) != num_clients:
            raise ValueError(
                f"num_clients must be {len(names)}, the number of natural clients, or 'natural', "
                f"got {num_clients}"
            )
        return rows_of(owner, num_clients)
