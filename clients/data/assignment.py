"""From an owner for each example to each client's rows."""

import numpy as np

from .base import Array


def rows_of(owner: Array, num_clients: int) -> list[Array]:
    """Return the ascending rows of each client, int64.

    Args:
        owner: The client of each example, in [0, num_clients).  # [n]
        num_clients: N.
    """
    order = np.argsort(owner, kind="stable").astype(np.int64)
    sizes = np.bincount(owner, minlength=num_clients)
    return np.split(order, np.cumsum(sizes)[:-1])


def check_enough(num_examples: int, num_clients: int, least: int = 1) -> None:
    """Raise ``ValueError`` unless every client can hold ``least`` examples."""
    if num_clients < 1:
        raise ValueError(f"num_clients must be at least 1, got {num_clients}")
    if num_examples < num_clients * least:
        raise ValueError(
            f"{num_examples} examples cannot give {num_clients} clients at least {least} each; "
            f"take at most {num_examples // least} clients"
        )
