"""A hash of the examples that a run learns from, whatever files they came from."""

from hashlib import sha256
from typing import Any

import numpy as np

from .base import Array, FederatedData, PartitionedData

_CLIENTS = 16  # of data that are born with their clients, spread evenly over all


def digest(data: FederatedData, noised: bool = False) -> str:
    """Return a hash of the examples.

    Args:
        data: The clients' data. Of a data set that was dealt out, all examples count; of another, its test
            set and 16 clients.
        noised: Whether a privacy mechanism has noised the training inputs, which then do not count.
    """
    content = sha256()
    for array in _arrays(data, noised):
        whole = np.ascontiguousarray(array)
        content.update(f"{whole.dtype.str}{whole.shape}".encode())
        content.update(whole.data.cast("B") if whole.size else b"")
    return content.hexdigest()[:32]


def _arrays(data: FederatedData, noised: bool) -> list[Array]:
    if isinstance(data, PartitionedData):
        root = _arrays(data.root, noised) if data.root is not None else []
        return [*([] if noised else [data.x]), data.y, data.test_x, data.test_y, *root]
    chosen = np.unique(np.linspace(0, data.num_clients - 1, _CLIENTS).astype(int)).tolist()
    pairs: list[Any] = [data.test(), *([] if noised else [data.client(i) for i in chosen])]
    return [part.numpy() for pair in pairs for part in pair]
